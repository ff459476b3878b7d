//! The work that one call is for Redis: how many commands its script runs. A command more is not
//! wrong, but it is seen.

use std::collections::BTreeMap;

use redis::Connection;
use serde_json::{Value, json};

use crate::support::{Server, Service};

/// What Redis has counted since it was last asked, those commands aside that carry scripts and ask.
fn counted(connection: &mut Connection) -> BTreeMap<String, u64> {
    let stats: String = redis::cmd("INFO").arg("commandstats").query(connection).unwrap();
    let lines =
        stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let counts = lines.map(|(name, rest)| {
        let calls = rest.split(',').next().unwrap().parse().unwrap();
        (name.to_uppercase(), calls)
    });
    let asking = ["EVALSHA", "EVAL", "INFO", "CONFIG|RESETSTAT", "CONFIG", "UNWATCH", "PING"];
    let counts = counts.filter(|(name, _)| !asking.contains(&name.as_str())).collect();
    redis::cmd("CONFIG").arg("RESETSTAT").exec(connection).unwrap();
    counts
}

struct Counter {
    service: Service,
    connection: Connection,
    seen: Vec<String>,
}

impl Counter {
    /// Runs a call and says what it was for Redis, as `COMMAND count`, sorted.
    async fn count(&mut self, call: &str, body: Value) -> Value {
        counted(&mut self.connection);
        let (method, path) = call.split_once(' ').unwrap();
        let answer = match method {
            "GET" => self.service.get(path).await,
            "PATCH" => self.service.patch(path, body, &[]).await,
            "DELETE" => self.service.delete(path, &[]).await,
            _ => self.service.post(path, body).await,
        };
        assert!(answer.status.is_success(), "{call}: {:#}", answer.body);
        let counts = counted(&mut self.connection);
        let counts: Vec<_> = counts.iter().map(|(name, calls)| format!("{name} {calls}")).collect();
        self.seen.push(format!("{call}: {}", counts.join(", ")));
        answer.body
    }
}

/// The whole table, as it is. `time`, one look at all records, and one write of those that last are
/// the frame's; a record with an end is a SET, a log an RPUSH, a collection its own command.
const TABLE: [&str; 44] = [
    "POST /accounts: EXISTS 1, HGET 1, HSET 1, MGET 1, MSET 1, RPUSH 1, SET 1, TIME 1, ZADD 1",
    "POST /accounts/transfer: MGET 1, MSET 1, RPUSH 2, SET 1, TIME 1",
    "POST /accounts/deposit: HGET 1, HSET 1, MGET 1, MSET 1, RPUSH 1, SET 1, TIME 1",
    "POST /accounts/withdraw: HGET 1, HSET 1, MGET 1, MSET 1, RPUSH 1, SET 1, TIME 1",
    "POST /accounts/hold: MGET 1, MSET 1, SET 1, TIME 1, ZADD 1",
    // The first look finds out whose hold or transaction it is.
    "POST /accounts/extend: MGET 2, MSET 1, SET 1, TIME 2, ZADD 1, ZSCORE 1",
    "POST /accounts/capture: MGET 2, MSET 1, RPUSH 2, SET 2, TIME 2, ZADD 1, ZREM 1, ZSCORE 1",
    "POST /accounts/release: MGET 2, MSET 1, SET 1, TIME 2, ZREM 1, ZSCORE 1",
    "POST /accounts/reverse: MGET 2, MSET 1, RPUSH 2, SET 2, TIME 2",
    "POST /accounts/freeze: MGET 1, MSET 1, TIME 1",
    "POST /accounts/unfreeze: MGET 1, MSET 1, TIME 1",
    "PATCH /accounts/alice: MGET 1, MSET 1, TIME 1",
    "POST /accounts/close: MGET 1, MSET 1, RPUSH 2, SET 1, TIME 1",
    "GET /accounts/alice: LRANGE 1, MGET 1, TIME 1",
    "GET /accounts/alice/balance: MGET 1, TIME 1",
    "GET /accounts/alice/transactions: LINDEX 1, LLEN 1, LRANGE 1, MGET 1, TIME 1",
    // A step that names the accounts, and one that tells about them.
    "GET /accounts: MGET 1, TIME 2, ZRANGEBYLEX 2",
    // Of each account its log, and its holds where it has any.
    "GET /accounts/integrity: HGETALL 1, LRANGE 4, MGET 1, TIME 2, ZCARD 4, ZRANGEBYLEX 2",
    "POST /inventory/reserve: MGET 1, MSET 1, PEXPIRE 1, RPUSH 1, SET 1, TIME 1, ZADD 2, ZCARD 1",
    "POST /inventory/adjust: MGET 1, MSET 1, RPUSH 1, TIME 1",
    "POST /inventory/extend: MGET 2, MSET 1, SET 1, TIME 2, ZADD 1, ZSCORE 1",
    "POST /inventory/confirm: MGET 2, MSET 1, RPUSH 1, SET 1, TIME 2, ZREM 1, ZSCORE 1",
    "POST /inventory/cancel: MGET 2, MSET 1, RPUSH 1, SET 1, TIME 2, ZREM 1, ZSCORE 1",
    "PATCH /inventory/products/cup: MGET 1, MSET 1, TIME 1",
    "GET /inventory/products/cup: MGET 1, TIME 1",
    "GET /inventory/products: MGET 1, TIME 2, ZRANGEBYLEX 2",
    "GET /inventory/products/cup/movements: LLEN 1, LRANGE 1, MGET 1, TIME 1",
    "GET /inventory/customers/c/reservations: MGET 1, TIME 2, ZREVRANGEBYLEX 2",
    // There is a live hold, of the checkout in the round before.
    "GET /inventory/integrity: MGET 1, TIME 2, ZCARD 1, ZRANGEBYLEX 2, ZRANGEBYSCORE 1",
    "POST /locks: MGET 1, SET 1, TIME 1",
    "POST /locks/release: EXISTS 1, MGET 1, SET 2, TIME 1",
    "POST /ratelimit: MGET 1, SET 1, TIME 1",
    "POST /counters/increment: MGET 1, MSET 1, TIME 1",
    "POST /counters/decrement: MGET 1, MSET 1, TIME 1",
    "POST /counters/set: MGET 1, MSET 1, TIME 1",
    "POST /counters/reset: MGET 1, MSET 1, TIME 1",
    "POST /counters/batch: MGET 1, MSET 1, TIME 1",
    "GET /counters/n: MGET 1, TIME 1",
    "DELETE /counters/n: DEL 1, MGET 1, PTTL 1, TIME 1",
    // One look and one commit for all four; the reservation's id is new, and so looked for twice.
    "POST /atomic: EXISTS 1, MGET 1, MSET 1, PEXPIRE 1, RPUSH 3, SET 3, TIME 1, ZADD 2, ZCARD 1",
    "POST /batch/set: SET 2, TIME 1",
    "POST /batch/get: MGET 1, TIME 1",
    // A number of 64 bits is read again as text, because Lua would lose its last digits.
    "POST /batch: GET 1, INCRBY 1, RPUSH 1, TIME 1",
    // Without anything to watch it is one script, which looks first at what its commands need.
    "POST /transactions: GET 2, INCRBY 1, RPUSH 1, TIME 1, TYPE 2",
];

#[tokio::test]
async fn every_call_is_the_same_few_commands() {
    let server = Server::start(&[]);
    let service = Service::with(|settings| {
        settings.url = server.url.clone();
        settings.batch_workers = 1;
    });
    let mut counter = Counter { service, connection: server.connection(), seen: Vec::new() };
    // Twice: the first round loads the scripts and opens what is there only once.
    for round in 0..2 {
        counter.seen.clear();
        let [carol, dave] = ["carol", "dave"].map(|name| format!("{name}{round}"));
        let service = counter.service.clone();
        if round == 0 {
            service.open("alice", "1000").await;
            service.open("bob", "1000").await;
            service.add_product("cup", 100).await;
        }
        let opening = json!({ "account_id": carol, "initial_balance": "5" });
        counter.count("POST /accounts", opening).await;
        let pay = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
        let paid = counter.count("POST /accounts/transfer", pay).await;
        let one = json!({ "account_id": "alice", "amount": "1" });
        counter.count("POST /accounts/deposit", one.clone()).await;
        counter.count("POST /accounts/withdraw", one).await;
        let hold = json!({
            "from_account": "alice", "to_account": "bob", "amount": "1", "ttl_ms": 60_000
        });
        let hold_id = counter.count("POST /accounts/hold", hold).await["hold_id"].take();
        let longer = json!({ "hold_id": hold_id, "ttl_ms": 90_000 });
        counter.count("POST /accounts/extend", longer).await;
        let part = json!({ "hold_id": hold_id, "amount": "0.5", "final": false });
        counter.count("POST /accounts/capture", part).await;
        counter.count("POST /accounts/release", json!({ "hold_id": hold_id })).await;
        let back = json!({ "transaction_id": paid["transaction_id"] });
        counter.count("POST /accounts/reverse", back).await;
        counter.count("POST /accounts/freeze", json!({ "account_id": "alice" })).await;
        counter.count("POST /accounts/unfreeze", json!({ "account_id": "alice" })).await;
        let limit = json!({ "overdraft_limit": format!("{}", round + 1) });
        counter.count("PATCH /accounts/alice", limit).await;
        let closing = json!({ "account_id": carol, "sweep_to": "alice" });
        counter.count("POST /accounts/close", closing).await;
        counter.count("GET /accounts/alice", Value::Null).await;
        counter.count("GET /accounts/alice/balance", Value::Null).await;
        counter.count("GET /accounts/alice/transactions", Value::Null).await;
        counter.count("GET /accounts", Value::Null).await;
        counter.count("GET /accounts/integrity", Value::Null).await;
        let reserve = json!({ "customer_id": "c", "product_id": "cup", "quantity": 1 });
        let reserved = counter.count("POST /inventory/reserve", reserve).await;
        let more = json!({ "product_id": "cup", "delta": 1, "reason": "received" });
        counter.count("POST /inventory/adjust", more).await;
        let longer = json!({ "reservation_id": reserved["reservation_id"], "ttl_ms": 600_000 });
        counter.count("POST /inventory/extend", longer).await;
        let sold = json!({ "reservation_id": reserved["reservation_id"] });
        counter.count("POST /inventory/confirm", sold).await;
        let other = service.reserve("cup", 1, 60_000).await.assert(201);
        let given_up = json!({ "reservation_id": other["reservation_id"] });
        counter.count("POST /inventory/cancel", given_up).await;
        let price = json!({ "price": format!("{}", round + 2) });
        counter.count("PATCH /inventory/products/cup", price).await;
        counter.count("GET /inventory/products/cup", Value::Null).await;
        counter.count("GET /inventory/products", Value::Null).await;
        counter.count("GET /inventory/products/cup/movements", Value::Null).await;
        counter.count("GET /inventory/customers/c/reservations", Value::Null).await;
        counter.count("GET /inventory/integrity", Value::Null).await;
        let lock = json!({ "lock": "l", "owner": dave });
        let lease = counter.count("POST /locks", lock).await;
        let give_back = json!({ "lock": "l", "lease_id": lease["lease_id"] });
        counter.count("POST /locks/release", give_back).await;
        let rule = json!({
            "key": "k", "capacity": 50, "refill_tokens": 1, "refill_interval_ms": 1000
        });
        counter.count("POST /ratelimit", rule.clone()).await;
        let up = json!({ "counter": "n", "by": 5 });
        counter.count("POST /counters/increment", up.clone()).await;
        counter.count("POST /counters/decrement", json!({ "counter": "n" })).await;
        counter.count("POST /counters/set", json!({ "counter": "n", "value": 3 })).await;
        counter.count("POST /counters/reset", json!({ "counter": "n" })).await;
        let several = json!({ "operations": [
            { "counter": "n", "action": "incr", "value": 1 },
            { "counter": "m", "action": "incr", "value": 1 }
        ] });
        counter.count("POST /counters/batch", several).await;
        counter.count("GET /counters/n", Value::Null).await;
        counter.count("DELETE /counters/n", Value::Null).await;
        let pay = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
        let reserve = json!({ "customer_id": "c", "product_id": "cup", "quantity": 1 });
        let checkout = json!({ "operations": [
            { "operation": "ratelimit/check", "input": rule },
            { "operation": "inventory/reserve", "input": reserve },
            { "operation": "counters/increment", "input": up },
            { "operation": "accounts/transfer", "input": pay }
        ] });
        counter.count("POST /atomic", checkout).await;
        counter.count("POST /batch/set", json!({ "values": { "x": "1", "y": "2" } })).await;
        counter.count("POST /batch/get", json!({ "keys": ["x", "y"] })).await;
        let data = json!([
            { "type": "incr", "key": "x" }, { "type": "rpush", "key": "list", "values": ["a"] }
        ]);
        counter.count("POST /batch", json!({ "operations": data })).await;
        counter.count("POST /transactions", json!({ "operations": data })).await;
    }
    assert_eq!(counter.seen, TABLE);
}
