//! The cache against a small model in Rust: every answer, and every value after every step, with entries, leases and
//! tags under the test's clock. What the model does not store after an invalidation, the cache must not either.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{fill, get, invalidate, set};
use crate::support::{Server, Service};

const KEYS: usize = 2;
const TAGS: usize = 2;

/// The unit of all times in milliseconds, long enough that the duration of a test does not matter.
const UNIT: i64 = 1_000_000;

/// The time for which a version is remembered after its value.
const REMEMBERED: i64 = 600_000;

#[derive(Debug, Clone)]
enum Step {
    Get {
        key: usize,
        lease: i64,
    },
    /// Fills with the newest lease of the key, or with one that came so many before it.
    Fill {
        key: usize,
        older: usize,
        value: NewValue,
    },
    Set {
        key: usize,
        version: Option<u64>,
        value: NewValue,
    },
    Invalidate {
        keys: Vec<usize>,
        tags: Vec<usize>,
        keep_stale: bool,
    },
    Wait(i64),
}

#[derive(Debug, Clone)]
struct NewValue {
    ttl: i64,
    stale: i64,
    refresh: i64,
    tags: Vec<usize>,
    is_large: bool,
}

fn new_values() -> impl Strategy<Value = NewValue> {
    let tags = prop::sample::subsequence(vec![0, 1], 0..=TAGS);
    (1_i64..6, 0_i64..4, 0_i64..3, tags, prop::bool::weighted(0.2)).prop_map(
        |(ttl, stale, refresh, tags, is_large)| NewValue {
            ttl,
            stale,
            refresh: refresh.min(ttl),
            tags,
            is_large,
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    let keys = prop::sample::subsequence(vec![0, 1], 0..=KEYS);
    let tags = prop::sample::subsequence(vec![0, 1], 0..=TAGS);
    prop_oneof![
        8 => (key(), 1_i64..4).prop_map(|(key, lease)| Step::Get { key, lease }),
        6 => (key(), prop_oneof![4 => Just(0_usize), 1 => 1_usize..4], new_values())
            .prop_map(|(key, older, value)| Step::Fill { key, older, value }),
        3 => (key(), proptest::option::of(0_u64..8), new_values())
            .prop_map(|(key, version, value)| Step::Set { key, version, value }),
        4 => (keys, tags, any::<bool>())
            .prop_filter("names something", |(keys, tags, _)| !keys.is_empty() || !tags.is_empty())
            .prop_map(|(keys, tags, keep_stale)| Step::Invalidate { keys, tags, keep_stale }),
        4 => (1_i64..4).prop_map(Step::Wait),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Fresh,
    Stale,
    Kept,
    None,
}

#[derive(Debug, Clone)]
struct Stored {
    text: String,
    expires: i64,
    stale: i64,
    refresh: i64,
    tags: Vec<usize>,
    since: u64,
    is_kept: bool,
    is_large: bool,
}

#[derive(Debug, Clone)]
struct Lease {
    token: String,
    ends: i64,
    since: u64,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    value: Option<Stored>,
    version: u64,
    is_given: bool,
    /// The end of the value that was there last.
    ended: i64,
    lease: Option<Lease>,
}

/// When a tag was invalidated last, in the order of invalidations and in time.
#[derive(Debug, Clone, Copy, Default)]
struct Tag {
    dropped: u64,
    kept: u64,
    kept_at: i64,
}

#[derive(Default)]
struct Model {
    now: i64,
    invalidations: u64,
    entries: [Entry; KEYS],
    tags: [Tag; TAGS],
}

impl Model {
    fn state(&self, key: usize) -> State {
        let Some(value) = &self.entries[key].value else { return State::None };
        let tags = value.tags.iter().map(|tag| self.tags[*tag]);
        if tags.clone().any(|tag| tag.dropped > value.since) {
            return State::None;
        }
        let (mut ends, mut is_kept) = (value.expires, value.is_kept);
        let kept = tags.filter(|tag| tag.kept > value.since).map(|tag| tag.kept_at).max();
        if let Some(at) = kept {
            (ends, is_kept) = (ends.min(at), true);
        }
        match () {
            () if self.now >= ends + value.stale => State::None,
            () if is_kept => State::Kept,
            () if self.now < ends => State::Fresh,
            () => State::Stale,
        }
    }

    fn drop_value(&mut self, key: usize) {
        let entry = &mut self.entries[key];
        if let Some(value) = entry.value.take() {
            entry.ended = self.now.min(value.expires + value.stale);
        }
    }

    /// Lets leases and versions end whose time is over.
    fn expire(&mut self) {
        for entry in &mut self.entries {
            entry.lease.take_if(|lease| lease.ends <= self.now);
            let ended = match &entry.value {
                Some(value) => value.expires + value.stale,
                None => entry.ended,
            };
            if entry.is_given && self.now >= ended + REMEMBERED {
                (entry.version, entry.is_given) = (0, false);
            }
            // The count begins anew once neither value nor lease is left.
            if !entry.is_given && entry.lease.is_none() && self.now >= ended {
                entry.version = 0;
            }
        }
    }

    fn get(&mut self, key: usize, lease: i64, answer: &Value) {
        let state = self.state(key);
        let value = self.entries[key].value.clone();
        let text = value.as_ref().map(|value| value.text.clone());
        let is_near = value.as_ref().is_some_and(|value| self.now >= value.expires - value.refresh);
        let version = self.entries[key].version;
        let mut is_own = false;
        if (state != State::Fresh || is_near) && self.entries[key].lease.is_none() {
            // A large one stays for the next writer to remove.
            if state == State::None && !value.is_some_and(|value| value.is_large) {
                self.drop_value(key);
            }
            is_own = true;
            let token = answer["lease_token"].as_str().unwrap_or_default().to_owned();
            let ends = self.now + lease * UNIT;
            self.entries[key].lease = Some(Lease { token, ends, since: self.invalidations });
        }
        assert_eq!(answer["lease_token"].is_string(), is_own, "{state:?} {answer}");
        let is_hit = matches!(state, State::Fresh | State::Stale);
        assert_eq!(answer["hit"], is_hit, "{state:?} {answer}");
        if is_hit {
            assert_eq!(answer["value"], json!(text));
            assert_eq!(answer["version"], version, "{answer}");
            assert_eq!(answer["stale"], state == State::Stale, "{answer}");
        } else {
            let kept = text.filter(|_| state == State::Kept);
            assert_eq!(answer.get("stale_value"), kept.map(Value::from).as_ref(), "{answer}");
            assert_eq!(answer["filling"] == true, !is_own, "{answer}");
        }
    }

    /// Returns true if the value is stored.
    fn fill(&mut self, key: usize, token: &str, value: &NewValue, text: &str) -> bool {
        let Some(lease) = self.entries[key].lease.clone().filter(|lease| lease.token == token)
        else {
            return false;
        };
        let mut tags = value.tags.iter().map(|tag| self.tags[*tag]);
        self.entries[key].lease = None;
        if tags.any(|tag| tag.dropped.max(tag.kept) > lease.since) {
            return false;
        }
        self.store(key, value, text, lease.since);
        self.count_version(key);
        true
    }

    /// Returns the version of the entry, and whether the value is stored.
    fn set(&mut self, key: usize, version: Option<u64>, value: &NewValue, text: &str) -> bool {
        let entry = &mut self.entries[key];
        match version {
            Some(version) if entry.is_given && version <= entry.version => return false,
            Some(version) => (entry.version, entry.is_given) = (version, true),
            None => self.count_version(key),
        }
        self.entries[key].lease = None;
        self.store(key, value, text, self.invalidations);
        true
    }

    fn count_version(&mut self, key: usize) {
        let entry = &mut self.entries[key];
        entry.version += u64::from(!entry.is_given);
    }

    fn store(&mut self, key: usize, value: &NewValue, text: &str, since: u64) {
        let NewValue { ttl, stale, refresh, tags, is_large } = value.clone();
        self.entries[key].value = Some(Stored {
            text: text.to_owned(),
            expires: self.now + ttl * UNIT,
            stale: stale * UNIT,
            refresh: refresh * UNIT,
            tags,
            since,
            is_kept: false,
            is_large,
        });
    }

    fn invalidate(&mut self, keys: &[usize], tags: &[usize], keep_stale: bool) -> usize {
        let mut invalidated = 0;
        for key in keys {
            let state = self.state(*key);
            let entry = &mut self.entries[*key];
            let is_kept = entry.value.as_ref().is_some_and(|value| value.is_kept);
            let is_there = state != State::None && !(keep_stale && is_kept);
            invalidated += usize::from(is_there || entry.lease.is_some());
            entry.lease = None;
            match &mut entry.value {
                Some(value) if is_there && keep_stale && value.stale > 0 => {
                    (value.is_kept, value.expires) = (true, value.expires.min(self.now));
                }
                _ if is_there => self.drop_value(*key),
                _ => {}
            }
        }
        self.invalidations += 1;
        for tag in tags {
            let tag = &mut self.tags[*tag];
            if keep_stale {
                (tag.kept, tag.kept_at) = (self.invalidations, self.now);
            } else {
                tag.dropped = self.invalidations;
            }
        }
        invalidated
    }
}

fn with_times(value: &NewValue, mut body: Value) -> Value {
    let NewValue { ttl, stale, refresh, tags, .. } = value;
    body["ttl_ms"] = (ttl * UNIT).into();
    body["stale_ms"] = (stale * UNIT).into();
    body["refresh_ms"] = (refresh * UNIT).into();
    body["tags"] = tags.iter().map(|tag| format!("t{tag}")).collect();
    body
}

async fn run(service: &Service, steps: Vec<Step>) {
    let mut model = Model::default();
    let mut tokens: [Vec<String>; KEYS] = Default::default();
    for (number, step) in steps.into_iter().enumerate() {
        let text = |value: &NewValue| match value.is_large {
            true => format!("{number}-{}", "x".repeat(20_000)),
            false => number.to_string(),
        };
        model.expire();
        match step {
            Step::Get { key, lease } => {
                let body = json!({ "key": key.to_string(), "lease_ms": lease * UNIT });
                let answer = get(service, body).await.assert(200);
                model.get(key, lease, &answer);
                tokens[key].extend(answer["lease_token"].as_str().map(str::to_owned));
            }
            Step::Fill { key, older, value } => {
                let Some(token) = tokens[key].iter().rev().nth(older) else { continue };
                let text = text(&value);
                let body = with_times(&value, json!({ "key": key.to_string(), "value": text }));
                let answer = fill(service, &json!(token), body).await;
                if model.fill(key, token, &value, &text) {
                    let version = model.entries[key].version;
                    assert_eq!(answer.assert(200)["version"], version);
                } else {
                    answer.expect_problem(409, "cache_lease_lost");
                }
            }
            Step::Set { key, version, value } => {
                let text = text(&value);
                let mut body = with_times(&value, json!({ "key": key.to_string(), "value": text }));
                if let Some(version) = version {
                    body["version"] = version.into();
                }
                let answer = set(service, body).await;
                if model.set(key, version, &value, &text) {
                    assert_eq!(answer.assert(200)["version"], model.entries[key].version);
                } else {
                    answer.expect_problem(409, "version_stale");
                }
            }
            Step::Invalidate { keys, tags, keep_stale } => {
                let names: Vec<_> = keys.iter().map(usize::to_string).collect();
                let of_tags: Vec<_> = tags.iter().map(|tag| format!("t{tag}")).collect();
                let body = json!({ "keys": names, "tags": of_tags, "keep_stale": keep_stale });
                let answer = invalidate(service, body).await.assert(200);
                assert_eq!(answer["invalidated"], model.invalidate(&keys, &tags, keep_stale));
            }
            Step::Wait(units) => {
                service.advance_ms(units * UNIT);
                model.now += units * UNIT;
            }
        }
        model.expire();
        for key in 0..KEYS {
            let answer = service.get(&format!("/cache/{key}")).await;
            match model.state(key) {
                State::Fresh | State::Stale => {
                    let expected = model.entries[key].value.as_ref().map(|value| &value.text);
                    assert_eq!(answer.assert(200)["value"], json!(expected));
                }
                State::Kept | State::None => drop(answer.expect_problem(404, "cache_miss")),
            }
        }
    }
}

static SERVER: LazyLock<Server> = LazyLock::new(Server::of_this_run);

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_answers_as_the_model(steps in prop::collection::vec(steps(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let service = Service::on_own_redis(&SERVER);
            run(&service, steps).await;
            service.store.close().await;
        });
    }
}
