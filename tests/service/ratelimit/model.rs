//! Every algorithm against a model that counts in exact fractions and lists, on a clock that only the test
//! moves, forward and back.

use proptest::prelude::*;

use crate::support::{raw, run_step_at};

/// A rule as scripts take it: the code of its algorithm, the limit, and two numbers.
#[derive(Debug, Clone, Copy)]
struct Rule {
    algorithm: Algorithm,
    limit: u64,
    a: u64,
    b: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    TokenBucket = 1,
    SlidingWindow = 2,
    SlidingCounter = 3,
    FixedWindow = 4,
    Concurrency = 5,
}

/// What a test does to a limit.
#[derive(Debug, Clone)]
enum Act {
    Check(u64),
    Refund(u64),
    /// Releases one of the leases that were given, by its place among them.
    Release(usize),
}

/// The contract in Rust. `taken` has what was taken and not given back: the moment, the units, and for a
/// lease its end and its id.
struct Model {
    rule: Rule,
    taken: Vec<Taken>,
    /// Of a bucket: the level at `at`, in parts of a token.
    level: u128,
    /// The latest moment at which anything was taken or given back.
    at: u64,
}

#[derive(Debug, Clone)]
struct Taken {
    at: u64,
    units: u64,
    lease_id: String,
}

impl Model {
    fn new(rule: Rule) -> Model {
        let level = u128::from(rule.limit) * u128::from(rule.a);
        Model { rule, taken: Vec::new(), level, at: 0 }
    }

    fn full(&self) -> u128 {
        u128::from(self.rule.limit) * u128::from(self.rule.a)
    }

    fn level_at(&self, now: u64) -> u128 {
        let refilled = u128::from(now.saturating_sub(self.at)) * u128::from(self.rule.b);
        (self.level + refilled).min(self.full())
    }

    /// True while something that was taken at `at` counts at `now`.
    fn counts(&self, at: u64, now: u64) -> bool {
        let Rule { a, b, .. } = self.rule;
        match self.rule.algorithm {
            Algorithm::TokenBucket => unreachable!("a bucket has no entries"),
            Algorithm::SlidingWindow | Algorithm::Concurrency => at + a > now,
            Algorithm::SlidingCounter => (at / b + 1) * b - 1 + a > now,
            Algorithm::FixedWindow => at / a == now / a,
        }
    }

    fn used(&self, now: u64) -> u64 {
        self.taken.iter().filter(|taken| self.counts(taken.at, now)).map(|taken| taken.units).sum()
    }

    /// Returns the free units at `now`, if the clock goes on from there.
    fn free(&self, now: u64) -> u64 {
        if self.rule.algorithm == Algorithm::TokenBucket {
            return u64::try_from(self.level_at(now) / u128::from(self.rule.a)).unwrap();
        }
        self.rule.limit.saturating_sub(self.used(now))
    }

    /// While the clock of Redis is behind what was taken, nothing is admitted. Leases do not mind.
    fn admits(&self, cost: u64, now: u64) -> bool {
        now >= self.at && self.free(now) >= cost
    }

    fn take(&mut self, units: u64, now: u64, lease_id: &str) {
        self.level = self.level_at(now);
        match self.rule.algorithm {
            Algorithm::Concurrency => self.forget_ended(now),
            algorithm => {
                self.at = now;
                if algorithm == Algorithm::TokenBucket {
                    self.level -= u128::from(units) * u128::from(self.rule.a);
                } else if algorithm == Algorithm::SlidingWindow {
                    self.forget_ended(now);
                }
            }
        }
        self.taken.push(Taken { at: now, units, lease_id: lease_id.to_owned() });
    }

    /// What has ended stays so, even if the clock steps back.
    fn forget_ended(&mut self, now: u64) {
        let length = self.rule.a;
        self.taken.retain(|taken| taken.at + length > now);
    }

    /// Gives back the newest units, and returns how many still counted.
    fn give_back(&mut self, units: u64, now: u64) -> u64 {
        let now = now.max(self.at);
        if self.rule.algorithm == Algorithm::TokenBucket {
            let before = self.level_at(now);
            let after = (before + u128::from(units) * u128::from(self.rule.a)).min(self.full());
            let returned = (after - before).div_ceil(u128::from(self.rule.a));
            let returned = u64::try_from(returned).unwrap();
            if returned > 0 {
                (self.level, self.at) = (after, now);
            }
            return returned;
        }
        let mut left = units;
        for index in (0..self.taken.len()).rev() {
            if self.counts(self.taken[index].at, now) {
                let given = left.min(self.taken[index].units);
                self.taken[index].units -= given;
                left -= given;
            }
        }
        if left < units && self.rule.algorithm != Algorithm::SlidingWindow {
            // A log knows the moments of what it has, and no later one.
            self.at = now;
        }
        if self.rule.algorithm == Algorithm::SlidingWindow {
            let newest = self.taken.iter().filter(|taken| taken.units > 0).map(|taken| taken.at);
            self.at = newest.max().unwrap_or(0);
        }
        units - left
    }
}

/// The scripts without the service, on a clock that the test sets. The rules last so long that the clock of
/// Redis, which deletes the keys, does not matter.
struct Limit {
    space: String,
}

/// What a script says of a check.
struct Decided {
    allowed: bool,
    remaining: u64,
    retry_after_ms: u64,
    reset_after_ms: u64,
}

impl Limit {
    fn new(rule: Rule) -> Limit {
        let limit = Limit { space: crate::support::unique("limit-") };
        limit.put(rule, "");
        limit
    }

    /// Writes the policy. `version` is the one that it has, and empty for none.
    fn put(&self, rule: Rule, version: &str) {
        let Rule { algorithm, limit: most, a, b } = rule;
        let args = [
            "p".to_owned(),
            version.to_owned(),
            (algorithm as u8).to_string(),
            most.to_string(),
            a.to_string(),
            b.to_string(),
            "1000".to_owned(),
            "0".to_owned(),
            // A policy whose rule is the same JSON is left as it is.
            format!("{{\"after\":\"{version}\"}}"),
        ];
        let keys = [self.key("limit_policy:p"), self.key("index:limit_policies")];
        let reply = self.run("ratelimit/put_policy", 1_000_000_000_000, &keys, &args);
        assert_eq!(reply[0], "ok");
    }

    fn key(&self, name: &str) -> String {
        format!("lockstep:{{{}}}:{name}", self.space)
    }

    fn keys(&self) -> [String; 3] {
        [self.key("limit:p/k"), self.key("limit_log:p/k"), self.key("limit_policy:p")]
    }

    /// Runs one operation at `now` and returns the fields of its reply.
    fn run(&self, name: &str, now: u64, keys: &[String], args: &[String]) -> Vec<String> {
        run_step_at(&mut raw(&self.space), now, name, keys, args)
    }

    fn check(&self, cost: u64, now: u64, lease_id: &str) -> Decided {
        let mut args = vec!["k".to_owned(), cost.to_string(), "p".to_owned(), lease_id.to_owned()];
        args.resize(9, String::new());
        let fields = self.run("ratelimit/check", now, &self.keys(), &args);
        let number = |index: usize| fields[index].parse().unwrap();
        match fields[0].as_str() {
            "ok" => Decided {
                allowed: true,
                remaining: number(2),
                retry_after_ms: number(3),
                reset_after_ms: number(4),
            },
            "rate_limited" => Decided {
                allowed: false,
                remaining: number(5),
                retry_after_ms: number(6),
                reset_after_ms: number(7),
            },
            other => panic!("{other}"),
        }
    }

    fn peek(&self, cost: u64, now: u64) -> Decided {
        let args = [cost.to_string(), "p".to_owned()];
        let fields = self.run("ratelimit/peek", now, &self.keys(), &args);
        let number = |index: usize| fields[index].parse().unwrap();
        Decided {
            allowed: fields[1] == "true",
            remaining: number(3),
            retry_after_ms: number(4),
            reset_after_ms: number(5),
        }
    }

    fn refund(&self, cost: u64, now: u64) -> u64 {
        let mut args = vec![cost.to_string(), "p".to_owned()];
        args.resize(7, String::new());
        let fields = self.run("ratelimit/refund", now, &self.keys(), &args);
        assert_eq!(fields[0], "ok");
        fields[5].parse().unwrap()
    }

    fn release(&self, lease_id: &str, now: u64) -> bool {
        let mut args = vec!["k".to_owned(), lease_id.to_owned(), "p".to_owned()];
        args.resize(8, String::new());
        let fields = self.run("ratelimit/release", now, &self.keys(), &args);
        assert!(fields[0] == "ok" || fields[0] == "lease_not_found", "{fields:?}");
        fields[0] == "ok"
    }

    /// What Redis holds of the limit, byte for byte.
    fn dump(&self) -> Vec<Option<Vec<u8>>> {
        let mut connection = raw(&self.space);
        let dump = |key: &String| redis::cmd("DUMP").arg(key).query(&mut connection).unwrap();
        self.keys().iter().map(dump).collect()
    }
}

/// Does each act on the limit and on the model, and compares. A wait that is decided is enough, and a
/// millisecond less is not; what is denied or peeked at changes no byte; what was admitted in any window, by
/// the clock of Redis, never exceeds the limit.
fn agrees(rule: Rule, acts: Vec<(i64, Act)>) {
    let mut now = 1_000_000_000_000_u64;
    let (limit, mut model) = (Limit::new(rule), Model::new(rule));
    let mut admitted: Vec<(u64, u64)> = Vec::new();
    let mut leases: Vec<(String, u64)> = Vec::new();
    let has_refund = acts.iter().any(|(_, act)| !matches!(act, Act::Check(_)));
    for (step, (pause, act)) in acts.into_iter().enumerate() {
        now = now.saturating_add_signed(pause);
        match act {
            Act::Check(cost) => {
                let expected = model.admits(cost, now);
                let before = limit.dump();
                let peeked = limit.peek(cost, now);
                assert_eq!(limit.dump(), before, "a peek wrote");
                assert_eq!(peeked.allowed, expected, "step {step}: peek of {cost} at {now}");
                let lease_id = format!("lease_{step}x{cost}");
                let decided = limit.check(cost, now, &lease_id);
                assert_eq!(decided.allowed, expected, "step {step}: {cost} at {now}");
                if decided.allowed {
                    model.take(cost, now, &lease_id);
                    admitted.push((now, cost));
                    leases.push((lease_id, cost));
                    assert_eq!(decided.remaining, model.free(now), "step {step}");
                } else {
                    assert_eq!(limit.dump(), before, "a denial wrote");
                    let wait = decided.retry_after_ms;
                    assert_eq!(wait, peeked.retry_after_ms);
                    assert_eq!(decided.remaining, peeked.remaining);
                    assert!(model.admits(cost, now + wait), "step {step}: {wait} ms is too short");
                    assert!(
                        !model.admits(cost, now + wait - 1),
                        "step {step}: {wait} ms is too long"
                    );
                }
                let reset = decided.reset_after_ms;
                assert_eq!(
                    model.free(now + reset),
                    rule.limit,
                    "step {step}: reset {reset} too short"
                );
                let sooner = (now + reset).saturating_sub(1);
                assert!(
                    reset == 0 || sooner < model.at || model.free(sooner) < rule.limit,
                    "step {step}: reset {reset} too long"
                );
            }
            Act::Refund(cost) => {
                assert_eq!(limit.refund(cost, now), model.give_back(cost, now), "step {step}");
            }
            Act::Release(index) => {
                let Some((lease_id, _)) = leases.get(index) else { continue };
                let lives = |taken: &&mut Taken| {
                    taken.lease_id == *lease_id && taken.units > 0 && taken.at + rule.a > now
                };
                let mut living = model.taken.iter_mut().find(lives);
                assert_eq!(limit.release(lease_id, now), living.is_some(), "step {step}");
                if let Some(taken) = &mut living {
                    taken.units = 0;
                    model.forget_ended(now);
                }
            }
        }
        if !has_refund {
            assert_never_more(rule, &admitted);
        }
    }
}

/// A rule with other sub-buckets counts what was taken before as if it had been taken at the last instant of its old
/// sub-bucket: never too short, and at most one sub-bucket of each rule too long.
fn agrees_after_change(old: Rule, new: Rule, acts: Vec<(i64, Act)>, offsets: &[u64]) {
    let (limit, mut now) = (Limit::new(old), 1_000_000_000_000_u64);
    let mut model = Model::new(old);
    for (pause, act) in acts {
        now += pause.unsigned_abs();
        let Act::Check(cost) = act else { continue };
        if limit.check(cost, now, "lease").allowed {
            // Each write forgets the units that no longer count.
            let kept = std::mem::take(&mut model.taken).into_iter();
            model.taken = kept.filter(|taken| model.counts(taken.at, now)).collect();
            model.take(cost, now, "lease");
        }
    }
    limit.put(new, "1");
    let mut changed = Model::new(new);
    let last_instant = |at: u64| (at / old.b + 1) * old.b - 1;
    changed.taken = model.taken;
    changed.taken.iter_mut().for_each(|taken| taken.at = last_instant(taken.at));
    for offset in offsets {
        let then = now + offset;
        assert_eq!(limit.peek(1, then).remaining, changed.free(then), "{old:?} {new:?} {offset}");
    }
}

/// Whatever the clock did: in any window the admitted units are at most the limit, and of a bucket at most
/// its capacity and what came back meanwhile.
fn assert_never_more(rule: Rule, admitted: &[(u64, u64)]) {
    let Some(&(end, _)) = admitted.last() else { return };
    for &(begin, _) in admitted {
        let within = |&&(at, _): &&(u64, u64)| (begin..=end).contains(&at);
        let units: u64 = admitted.iter().filter(within).map(|(_, units)| units).sum();
        match rule.algorithm {
            Algorithm::TokenBucket => {
                let most = u128::from(rule.limit) * u128::from(rule.a)
                    + u128::from(end - begin) * u128::from(rule.b);
                assert!(u128::from(units) * u128::from(rule.a) <= most);
            }
            Algorithm::SlidingWindow | Algorithm::SlidingCounter if end - begin < rule.a => {
                assert!(units <= rule.limit);
            }
            _ => {}
        }
    }
}

/// Pauses forward, and now and then a step of the clock back.
fn pause() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0_i64..1_500_000, 1 => -2_000_000_i64..0, 1 => 1_000_000_i64..20_000_000]
}

fn checks(limit: u64) -> impl Strategy<Value = Vec<(i64, Act)>> {
    prop::collection::vec((pause(), (1..=limit).prop_map(Act::Check)), 1..40)
}

fn checks_and_refunds(limit: u64) -> impl Strategy<Value = Vec<(i64, Act)>> {
    let act = prop_oneof![
        3 => (1..=limit).prop_map(Act::Check),
        1 => (1..=limit).prop_map(Act::Refund)
    ];
    prop::collection::vec((pause(), act), 1..40)
}

fn checks_and_releases(limit: u64) -> impl Strategy<Value = Vec<(i64, Act)>> {
    let act = prop_oneof![
        3 => (1..=limit).prop_map(Act::Check),
        1 => (0_usize..20).prop_map(Act::Release)
    ];
    prop::collection::vec((pause(), act), 1..40)
}

fn bucket() -> impl Strategy<Value = Rule> {
    (1_u64..20, 600_000_u64..5_000_000, 1_u64..30).prop_map(|(limit, a, b)| Rule {
        algorithm: Algorithm::TokenBucket,
        limit,
        a,
        b,
    })
}

fn window(algorithm: Algorithm) -> impl Strategy<Value = Rule> {
    (1_u64..20, 600_000_u64..5_000_000, 1_u64..40).prop_map(move |(limit, a, buckets)| Rule {
        algorithm,
        limit,
        a,
        b: a.div_ceil(buckets),
    })
}

fn with<S: Strategy<Value = Vec<(i64, Act)>>>(
    rules: impl Strategy<Value = Rule>,
    acts: impl Fn(u64) -> S + Clone,
) -> impl Strategy<Value = (Rule, Vec<(i64, Act)>)> {
    rules.prop_flat_map(move |rule| (Just(rule), acts(rule.limit)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bucket_is_an_exact_fraction((rule, acts) in with(bucket(), checks)) {
        agrees(rule, acts);
    }

    #[test]
    fn a_bucket_takes_units_back((rule, acts) in with(bucket(), checks_and_refunds)) {
        agrees(rule, acts);
    }

    #[test]
    fn a_window_is_an_exact_log((rule, acts) in with(window(Algorithm::SlidingWindow), checks)) {
        agrees(rule, acts);
    }

    #[test]
    fn a_window_takes_units_back((rule, acts) in with(window(Algorithm::SlidingWindow), checks_and_refunds)) {
        agrees(rule, acts);
    }

    #[test]
    fn a_counter_counts_every_bucket_that_overlaps((rule, acts) in with(window(Algorithm::SlidingCounter), checks)) {
        agrees(rule, acts);
    }

    #[test]
    fn a_counter_moves_units_to_the_buckets_of_a_changed_rule(
        (old, acts) in with(window(Algorithm::SlidingCounter), checks),
        new in window(Algorithm::SlidingCounter),
        offsets in prop::collection::vec(0_u64..10_000_000, 40),
    ) {
        prop_assume!(old.b != new.b);
        agrees_after_change(old, new, acts, &offsets);
    }

    #[test]
    fn a_counter_takes_units_back((rule, acts) in with(window(Algorithm::SlidingCounter), checks_and_refunds)) {
        agrees(rule, acts);
    }

    #[test]
    fn a_fixed_window_begins_at_multiples((rule, acts) in with(window(Algorithm::FixedWindow), checks)) {
        agrees(rule, acts);
    }

    #[test]
    fn a_fixed_window_takes_units_back((rule, acts) in with(window(Algorithm::FixedWindow), checks_and_refunds)) {
        agrees(rule, acts);
    }

    #[test]
    fn leases_end_by_themselves_or_are_released((rule, acts) in with(window(Algorithm::Concurrency), checks_and_releases)) {
        agrees(rule, acts);
    }
}
