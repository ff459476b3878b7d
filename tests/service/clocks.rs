//! Tests of clocks that are wrong: that of this process, which decides nothing, and that of Redis, which may
//! step back or forward.

use serde_json::{Value, json};

use crate::support::{Answer, HOUR, Process, Service, unique};

/// Offsets of a process's clock.
const OFFSETS: [&str; 4] = ["-1h", "+1h", "-400d", "+400d"];

struct Caller<'a> {
    process: &'a Process,
    space: &'a str,
}

impl Caller<'_> {
    async fn post(&self, path: &str, body: Value) -> Answer {
        let key = unique("call-");
        self.process.post(self.space, path, &body, &key).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.process.get(self.space, path).await.unwrap().assert(200)
    }
}

async fn reserve(caller: &Caller<'_>) -> String {
    let body = json!({ "customer_id": "carol", "product_id": "cup", "quantity": 1 });
    let made = caller.post("/inventory/reserve", body).await.assert(201);
    made["reservation_id"].as_str().unwrap().to_owned()
}

fn listed(page: &Value) -> Vec<String> {
    let reservations = page["reservations"].as_array().unwrap();
    reservations.iter().map(|it| it["reservation_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_are_listed_by_the_clock_of_redis() {
    for offset in OFFSETS {
        let (right, wrong) = (Process::shared(), Process::with_clock(offset, &[]));
        let space = unique("clock-");
        let [right, wrong] = [&right, &wrong].map(|process| Caller { process, space: &space });
        let product =
            json!({ "product_id": "cup", "name": "n", "price": "1", "initial_stock": 100 });
        right.post("/inventory/products", product).await.assert(201);
        let mut made = Vec::new();
        for number in 0..9 {
            made.push(reserve(if number % 2 == 0 { &wrong } else { &right }).await);
        }
        made.reverse();
        let path = "/inventory/customers/carol/reservations";
        assert_eq!(listed(&right.get(path).await), made, "{offset}");
        assert_eq!(listed(&wrong.get(path).await), made, "{offset}");
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = right.get(&format!("{path}?limit=2{cursor}")).await;
            paged.extend(listed(&page));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, made, "{offset}");
    }
}

/// The list is trimmed to the newest by the clock of Redis, so a live reservation never falls out of it
/// because the instance that made it has a wrong clock.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_trimmed_is_the_oldest_by_the_clock_of_redis() {
    let space = unique("clock-");
    let [right, wrong] =
        ["+0", "-1h"].map(|offset| Process::with_clock(offset, &["--history", "100"]));
    let [right, wrong] = [&right, &wrong].map(|process| Caller { process, space: &space });
    let product =
        json!({ "product_id": "cup", "name": "n", "price": "1", "initial_stock": 10_000 });
    right.post("/inventory/products", product).await.assert(201);
    let input = json!({ "customer_id": "carol", "product_id": "cup", "quantity": 1 });
    let line = json!({ "operation": "inventory/reserve", "input": input }).to_string() + "\n";
    for _ in 0..5 {
        right.process.bulk(&space, line.repeat(100)).await.unwrap().unwrap();
        let made = reserve(&wrong).await;
        let page = right.get("/inventory/customers/carol/reservations?limit=1").await;
        assert_eq!(listed(&page), [made]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_by_the_clock_of_redis() {
    for offset in OFFSETS {
        let (right, wrong) = (Process::shared(), Process::with_clock(offset, &[]));
        let space = unique("clock-");
        let [right, wrong] = [&right, &wrong].map(|process| Caller { process, space: &space });
        for (account, balance) in [("alice", "100"), ("bob", "0")] {
            let body = json!({ "account_id": account, "initial_balance": balance });
            right.post("/accounts", body).await.assert(201);
        }
        let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "10" });
        let mut made = Vec::new();
        for caller in [&right, &wrong, &right, &wrong] {
            let moved = caller.post("/accounts/transfer", body.clone()).await.assert(201);
            made.push(moved["transaction_id"].as_str().unwrap().to_owned());
        }
        made.reverse();
        let page = wrong.get("/accounts/bob/transactions").await;
        let history = page["transactions"].as_array().unwrap();
        let ids: Vec<_> = history.iter().map(|it| it["transaction_id"].as_str().unwrap()).collect();
        assert_eq!(ids, made, "{offset}");
        let instants: Vec<_> =
            history.iter().map(|it| it["created_at"].as_str().unwrap()).collect();
        assert!(instants.is_sorted_by(|one, other| one >= other), "{offset}: {instants:?}");
        // Each finds and reverses what the other has made, each once.
        for (caller, id) in [&right, &wrong, &right, &wrong].into_iter().zip(&made) {
            caller.get(&format!("/accounts/transactions/{id}")).await;
            let body = json!({ "transaction_id": id });
            caller.post("/accounts/reverse", body.clone()).await.assert(201);
            let again = caller.post("/accounts/reverse", body).await;
            again.expect_problem(422, "reversal_exceeds_transaction");
        }
        // A hold of one ends for the other by the clock of Redis alone.
        let mut hold = body.clone();
        hold["ttl_ms"] = HOUR.into();
        let held = wrong.post("/accounts/hold", hold).await.assert(201);
        let capture = json!({ "hold_id": held["hold_id"] });
        right.post("/accounts/capture", capture).await.assert(201);
        let books = wrong.get("/accounts/integrity").await;
        assert_eq!(books["ok"], true, "{offset}: {books:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_keys_are_exact_across_clocks() {
    for offset in OFFSETS {
        let (right, wrong) = (Process::shared(), Process::with_clock(offset, &[]));
        let space = unique("clock-");
        let [right, wrong] = [&right, &wrong].map(|process| Caller { process, space: &space });
        for algorithm in [
            json!({ "algorithm": "token_bucket", "capacity": 5, "refill_tokens": 1, "refill_interval_ms": HOUR }),
            json!({ "algorithm": "sliding_window", "limit": 5, "window_ms": HOUR }),
        ] {
            let mut body = algorithm;
            body["key"] = body["algorithm"].clone();
            let mut allowed = 0;
            for number in 0..10 {
                let caller = if number % 2 == 0 { &right } else { &wrong };
                allowed += u32::from(caller.post("/ratelimit", body.clone()).await.status == 200);
            }
            assert_eq!(allowed, 5, "{offset}");
        }
        let body = json!({ "counter": "c", "by": 1 });
        right.process.post(&space, "/counters/increment", &body, "k").await.unwrap().assert(200);
        let again = wrong.process.post(&space, "/counters/increment", &body, "k").await.unwrap();
        assert!(again.replayed(), "{offset}");
    }
}

/// The clock of Redis steps back by half a minute, as after a failover. Waiting as long as an answer says is
/// enough, a millisecond less is not, and nobody waits longer than that and the step.
#[tokio::test]
async fn a_limit_tells_the_wait_across_a_step_of_the_clock() {
    const STEP: i64 = 30_000;
    for (rule, usual_ms) in [
        (
            json!({ "algorithm": "token_bucket", "capacity": 5, "refill_tokens": 5, "refill_interval_ms": 1000 }),
            1000,
        ),
        (json!({ "algorithm": "sliding_window", "limit": 5, "window_ms": 1000 }), 1000),
    ] {
        let service = Service::new();
        let check = async |cost: u64| {
            let mut body = rule.clone();
            body["key"] = "k".into();
            body["cost"] = cost.into();
            service.post("/ratelimit", body).await
        };
        // Time moves with the tests' clock and the server's, so some milliseconds pass by themselves.
        let first = check(3).await.assert(200);
        assert!(first["reset_after_ms"].as_i64().unwrap() <= usual_ms);
        service.advance_ms(-STEP);
        // Those thirty seconds have been accounted for already, so nothing is taken in them again.
        for cost in [1, 2, 5] {
            let denied = check(cost).await.expect_problem(429, "rate_limited");
            let wait = denied["retry_after_ms"].as_i64().unwrap();
            assert!(wait > STEP - 5000 && wait <= STEP + usual_ms, "{rule} {cost}: {wait}");
            let reset = denied["reset_after_ms"].as_i64().unwrap();
            assert!(reset >= wait && reset <= STEP + usual_ms, "{rule} {cost}: {reset}");
        }
        let wait =
            check(5).await.expect_problem(429, "rate_limited")["retry_after_ms"].as_i64().unwrap();
        service.advance_ms(wait - STEP / 2);
        check(5).await.expect_problem(429, "rate_limited");
        service.advance_ms(STEP / 2);
        check(5).await.assert(200);
    }
}

/// Redis' clock was an hour ahead when money and units were taken back, and is set back then. What has ended
/// stays so, although its time is still to come, and nothing moves twice.
#[tokio::test]
async fn what_has_ended_stays_so_when_the_clock_is_set_back() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    service.add_product("cup", 10).await;
    let hold = service.held("alice", "bob", "60").await;
    let reservation = service.reserve("cup", 4, HOUR.cast_unsigned()).await.assert(201);
    let reservation = json!({ "reservation_id": reservation["reservation_id"] });
    service.advance_ms(HOUR + 1000);
    // These take back what has ended.
    service.deposit("alice", "1").await.assert(201);
    service.reserve("cup", 1, HOUR.cast_unsigned()).await.assert(201);
    service.advance_ms(-HOUR - 1000);
    let before = service.snapshot();
    service.capture(&hold, None, true).await.expect_problem(409, "hold_expired");
    service.release(&hold).await.expect_problem(409, "hold_expired");
    let extension = json!({ "hold_id": hold, "ttl_ms": 1000 });
    service.post("/accounts/extend", extension).await.expect_problem(409, "hold_expired");
    for path in ["confirm", "cancel"] {
        let answer = service.post(&format!("/inventory/{path}"), reservation.clone()).await;
        answer.expect_problem(409, "reservation_expired");
    }
    let mut extension = reservation;
    extension["ttl_ms"] = 1000.into();
    let answer = service.post("/inventory/extend", extension).await;
    answer.expect_problem(409, "reservation_expired");
    service.assert_unchanged(&before);
    assert_eq!(service.balance("alice").await, "101.00");
    assert_eq!(service.stock("cup").await, [10, 1, 9]);
}
