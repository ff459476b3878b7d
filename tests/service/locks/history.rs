//! Histories of many callers in several processes, who crash, go away, and let their leases expire. Whatever
//! happens, leases that exclude each other never overlap by the clock of Redis, fencing tokens only grow, and
//! waiters are served in their order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::Mutex, time::sleep};

use super::{acquire, queue_of, release};
use crate::support::{Process, Service, race};

/// A lease on one lock, for as long as it certainly held: from its grant until its holder began to release
/// it, or its end. In milliseconds of the clock of Redis.
#[derive(Debug, Clone)]
struct Held {
    token: u64,
    mode: String,
    from: i64,
    until: i64,
}

/// Numbers that look random; the same seed gives the same ones.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn milliseconds(instant: &Value) -> i64 {
    let text = instant.as_str().unwrap();
    let (date, time) = text.trim_end_matches('Z').split_once('T').unwrap();
    let mut parts = date.split('-').map(|part| part.parse::<i64>().unwrap());
    let (year, month, day) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    // Days since 1970 by the Gregorian calendar.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    let mut parts = time.split([':', '.']).map(|part| part.parse::<i64>().unwrap());
    let mut next = || parts.next().unwrap();
    (((days * 24 + next()) * 60 + next()) * 60 + next()) * 1000 + next()
}

fn redis_now(service: &Service) -> i64 {
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query(&mut service.raw()).unwrap();
    seconds * 1000 + micros / 1000
}

type History = Arc<Mutex<BTreeMap<String, Vec<Held>>>>;

/// One caller: acquires, and then releases, renews, lets expire, or goes away.
async fn live(service: Service, history: History, seed: u64) {
    let mut random = Random(seed);
    for _ in 0..25 {
        let locks = ["a", "b", "c"];
        let ttl_ms = 100 + random.below(300);
        let mut body = json!({
            "owner": format!("w{seed}"), "ttl_ms": ttl_ms, "wait_ms": random.below(4) * 1000
        });
        let names: Vec<&str> = if random.below(4) == 0 {
            let first = usize::try_from(random.below(3)).unwrap();
            vec![locks[first], locks[(first + 1) % 3]]
        } else {
            vec![locks[usize::try_from(random.below(3)).unwrap()]]
        };
        match names.len() {
            1 => body["lock"] = names[0].into(),
            _ => body["locks"] = names.clone().into(),
        }
        let mode = ["exclusive", "exclusive", "shared", "permit"]
            [usize::try_from(random.below(4)).unwrap()];
        body["mode"] = mode.into();
        if mode == "permit" {
            body["permits"] = 2.into();
        }
        let mut call = tokio::spawn(acquire(&service, body).into_future());
        if random.below(6) == 0 {
            sleep(Duration::from_millis(random.below(60))).await;
            call.abort();
        }
        let Ok(answer) = (&mut call).await else { continue };
        if answer.status != 201 {
            assert_eq!(answer.status, 409, "{:#}", answer.body);
            continue;
        }
        let mut lease = answer.body;
        let from = milliseconds(&lease["expires_at"]) - i64::try_from(ttl_ms).unwrap();
        sleep(Duration::from_millis(random.below(40))).await;
        let mut named = json!({ "lease_id": lease["lease_id"] });
        match names.len() {
            1 => named["lock"] = names[0].into(),
            _ => named["locks"] = names.clone().into(),
        }
        let tokens = lease.clone();
        if random.below(3) == 0 {
            let mut renewal = named.clone();
            renewal["ttl_ms"] = ttl_ms.into();
            let renewed = service.post("/locks/renew", renewal).await;
            if renewed.status == 200 {
                lease = renewed.body;
            } else {
                renewed.expect_problem(410, "lease_expired");
            }
        }
        let expires = milliseconds(&lease["expires_at"]);
        let before = redis_now(&service);
        let until = match random.below(5) {
            0 => expires,
            _ => {
                let released = service.post("/locks/release", named).await;
                assert!([200, 410].contains(&released.status.as_u16()), "{:#}", released.body);
                before.min(expires)
            }
        };
        let mut history = history.lock().await;
        for name in &names {
            let token = match tokens["locks"].as_array() {
                Some(locks) => {
                    locks.iter().find(|lock| lock["lock"] == *name).unwrap()["fencing_token"]
                        .as_u64()
                }
                None => tokens["fencing_token"].as_u64(),
            };
            let held = Held { token: token.unwrap(), mode: mode.to_owned(), from, until };
            history.entry((*name).to_owned()).or_default().push(held);
        }
    }
}

/// Panics where two leases of a lock that exclude each other overlap, or a token does not grow.
fn check(lock: &str, mut leases: Vec<Held>) {
    leases.sort_by_key(|held| held.token);
    for pair in leases.windows(2) {
        assert!(pair[0].token < pair[1].token, "{lock}: {pair:?}");
        assert!(pair[0].from <= pair[1].from, "{lock}: {pair:?}");
    }
    for (index, one) in leases.iter().enumerate() {
        let overlaps = |other: &&Held| other.from < one.until && one.from < other.until;
        let beside: Vec<_> = leases[index + 1..].iter().filter(overlaps).collect();
        for other in &beside {
            assert!(one.mode == other.mode && one.mode != "exclusive", "{lock}: {one:?} {other:?}");
        }
        if one.mode == "permit" {
            let at_once =
                leases.iter().filter(|held| held.from <= one.from && one.from < held.until);
            assert!(at_once.count() <= 2, "{lock}: more than two permits at {one:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_exclude_each_other_whatever_happens() {
    let services = [Service::new(), Service::new()];
    let space = &services[0].space;
    let services = services.each_ref().map(|service| service.in_space(space));
    // A third process takes and waits for the same locks, and is killed.
    let mut killed = Process::shared();
    let address = killed.address.clone();
    let client = race(6, |number| {
        let (address, space) = (address.clone(), space.clone());
        async move {
            let body = json!({
                "lock": (["a", "b", "c"][number % 3]), "owner": "killed", "ttl_ms": 300, "wait_ms": 20_000
            });
            let _ = raw_post(&address, &space, "/locks", &body.to_string()).await;
        }
    });
    let history = History::default();
    let callers =
        race(16, |task| live(services[task % 2].clone(), Arc::clone(&history), task as u64 + 1));
    sleep(Duration::from_millis(300)).await;
    killed.kill();
    callers.await;
    client.await;
    let history = Arc::try_unwrap(history).unwrap().into_inner();
    let mut count = 0;
    for (lock, leases) in history {
        count += leases.len();
        check(&lock, leases);
    }
    assert!(count > 60, "only {count} leases");
    for lock in ["a", "b", "c"] {
        let lease =
            acquire(&services[0], json!({ "lock": lock, "wait_ms": 20_000 })).await.assert(201);
        release(&services[0], lock, &lease["lease_id"]).await.assert(200);
        queue_of(&services[0], lock, 0).await;
    }
    every_key_ends(&services[0]);
}

/// Panics where a key of the space has no end.
fn every_key_ends(service: &Service) {
    let mut redis = service.raw();
    for (key, _) in service.snapshot() {
        let ttl: i64 = redis::cmd("PTTL").arg(&key).query(&mut redis).unwrap();
        assert!(ttl != -1, "{key} never ends");
    }
}

async fn raw_post(address: &str, space: &str, path: &str, body: &str) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nLockstep-Space: {space}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.read_to_end(&mut Vec::new()).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept_among_those_who_stay() {
    for seed in 1..4 {
        let mut random = Random(seed);
        let first = Service::new();
        let second = Service::new().in_space(&first.space);
        let holder = acquire(&first, json!({})).await.assert(201);
        let mut waiting = Vec::new();
        for number in 0..20_u64 {
            let service = if random.below(2) == 0 { &first } else { &second };
            let mode = if random.below(2) == 0 { "exclusive" } else { "shared" };
            let body = json!({ "owner": format!("w{number}"), "mode": mode, "wait_ms": 25_000 });
            let service = service.clone();
            waiting.push(tokio::spawn(async move {
                let lease = acquire(&service, body).await.assert(201);
                release(&service, "l", &lease["lease_id"]).await.assert(200);
                lease["fencing_token"].as_u64().unwrap()
            }));
            queue_of(&first, "l", number + 1).await;
        }
        let mut staying = Vec::new();
        for waiter in waiting {
            if random.below(4) == 0 {
                waiter.abort();
            } else {
                staying.push(waiter);
            }
        }
        queue_of(&first, "l", staying.len() as u64).await;
        every_key_ends(&first);
        release(&first, "l", &holder["lease_id"]).await.assert(200);
        let mut tokens = Vec::new();
        for waiter in staying {
            tokens.push(waiter.await.unwrap());
        }
        assert!(tokens.is_sorted(), "{seed}: {tokens:?}");
        every_key_ends(&first);
    }
}

#[tokio::test]
async fn a_clock_that_is_moved_never_turns_a_token_back() {
    let service = Service::new();
    let mut last = 0;
    for step in [0, 7_200_000, -7_200_000, -90_000_000, 3000, 86_400_000, -1, 5_000_000_000] {
        service.advance_ms(step);
        // A lease of before may last on, by as much as the clock was set back.
        let body = json!({ "lock": "l", "reason": "the clock was moved" });
        service.post("/locks/break", body).await.assert(200);
        let lease = acquire(&service, json!({})).await.assert(201);
        let token = lease["fencing_token"].as_u64().unwrap();
        assert!(token > last, "{token} after {last}, at a step of {step}");
        last = token;
        acquire(&service, json!({})).await.expect_problem(409, "lock_held");
        let ttl: i64 =
            redis::cmd("PTTL").arg(service.key("lock", "l")).query(&mut service.raw()).unwrap();
        let ahead = i64::try_from(token / 1000).unwrap() - redis_now(&service) - service.ahead_ms();
        assert!(ttl > ahead, "the record ends before the clock is past its token");
    }
}
