//! The number of Redis commands that the script of each operation runs. One command more is no error,
//! but a change that adds it has to say so here.

use std::collections::BTreeMap;

use redis::Connection;
use serde_json::json;

use crate::{
    catalogue::{Seeded, catalogue},
    support::{Server, Service},
};

/// The calls of each command since the last count.
pub fn command_calls(connection: &mut Connection) -> BTreeMap<String, u64> {
    let stats: String = redis::cmd("INFO").arg("commandstats").query(connection).unwrap();
    let lines =
        stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let counts = lines.map(|(name, rest)| {
        let calls = rest.split(',').next().unwrap().parse().unwrap();
        (name.to_uppercase(), calls)
    });
    let counts = counts.collect();
    redis::cmd("CONFIG").arg("RESETSTAT").exec(connection).unwrap();
    counts
}

/// The same without the commands that run scripts or count.
fn counted(connection: &mut Connection) -> BTreeMap<String, u64> {
    let asking =
        ["EVALSHA", "EVAL", "INFO", "CONFIG|RESETSTAT", "CONFIG", "UNWATCH", "PING", "SCRIPT|LOAD"];
    let mut counts = command_calls(connection);
    counts.retain(|name, _| !asking.contains(&name.as_str()));
    counts
}

/// The Redis commands of each operation. The runner accounts for `TIME`, for one `MGET` of all records
/// and for one `MSET` of all records that last; a record that expires is a `SET`, an entry of a log an
/// `RPUSH`, and a member of a sorted set a `ZADD` or `ZREM`.
const TABLE: [&str; 89] = [
    "accounts/open: EXISTS 1, HGET 1, HSET 2, MGET 1, MSET 1, PEXPIRE 1, RPUSH 1, TIME 1, ZADD 1",
    "accounts/transfer: HSET 1, MGET 1, MSET 1, PEXPIRE 1, RPUSH 2, TIME 1",
    "accounts/deposit: HGET 1, HSET 2, MGET 1, MSET 1, PEXPIRE 1, RPUSH 1, TIME 1",
    "accounts/withdraw: HGET 1, HSET 2, MGET 1, MSET 1, PEXPIRE 1, RPUSH 1, TIME 1",
    // The first of two steps finds the accounts of a transaction or a hold.
    "accounts/reverse: HGET 2, HSET 2, MGET 1, MSET 1, PEXPIRE 2, RPUSH 2, TIME 2",
    "accounts/freeze: MGET 1, MSET 1, TIME 1",
    "accounts/unfreeze: MGET 1, MSET 1, TIME 1",
    "accounts/update: MGET 1, MSET 1, TIME 1",
    "accounts/close: HSET 1, MGET 1, MSET 1, PEXPIRE 1, RPUSH 2, TIME 1",
    "accounts/get: LRANGE 1, MGET 1, TIME 1",
    "accounts/balance: MGET 1, TIME 1",
    "accounts/transactions: LINDEX 1, LLEN 1, LRANGE 1, MGET 1, TIME 1",
    "accounts/get_transaction: HGET 1, TIME 1",
    // The first of two steps names the accounts, and the second reads them.
    "accounts/list: MGET 1, TIME 2, ZRANGEBYLEX 2",
    // One account has a hold.
    "accounts/integrity: HGETALL 1, LLEN 3, LRANGE 6, MGET 1, TIME 2, ZCARD 3, ZRANGEBYLEX 2, ZRANGEBYSCORE 1",
    "accounts/hold: MGET 1, MSET 1, SET 1, TIME 1, ZADD 1",
    "accounts/capture: HSET 1, MGET 2, MSET 1, PEXPIRE 1, RPUSH 2, SET 1, TIME 2, ZADD 1, ZREM 1, ZSCORE 1",
    "accounts/release: MGET 2, MSET 1, SET 1, TIME 2, ZREM 1, ZSCORE 1",
    "accounts/extend: MGET 2, MSET 1, SET 1, TIME 2, ZADD 1, ZSCORE 1",
    "accounts/get_hold: MGET 1, TIME 1",
    "inventory/add_product: EXISTS 1, MGET 1, MSET 1, RPUSH 1, TIME 1, ZADD 1",
    "inventory/adjust: MGET 1, MSET 1, RPUSH 1, TIME 1",
    "inventory/update_product: MGET 1, MSET 1, TIME 1",
    // The product has a limit for each customer, so there is a record of what carol has.
    "inventory/reserve: EXISTS 1, MGET 1, MSET 1, PEXPIRE 1, PTTL 1, RPUSH 1, SET 2, TIME 1, ZADD 2, ZCARD 1",
    "inventory/extend: MGET 2, MSET 1, PTTL 1, SET 2, TIME 2, ZADD 1, ZSCORE 1",
    "inventory/confirm: MGET 2, MSET 1, PTTL 1, RPUSH 1, SET 2, TIME 2, ZREM 1, ZSCORE 1",
    "inventory/cancel: DEL 1, MGET 2, MSET 1, PTTL 1, RPUSH 1, SET 1, TIME 2, ZREM 1, ZSCORE 1",
    "inventory/get_product: MGET 1, TIME 1",
    "inventory/list_products: MGET 1, TIME 2, ZRANGEBYLEX 2",
    "inventory/movements: LLEN 1, LRANGE 1, MGET 1, TIME 1",
    "inventory/get_reservation: MGET 1, TIME 1",
    "inventory/customer_reservations: MGET 1, TIME 2, ZRANGE 1, ZRANK 1",
    "inventory/integrity: LLEN 1, MGET 1, TIME 2, ZCARD 1, ZRANGEBYLEX 2, ZRANGEBYSCORE 1",
    "counters/increment: EXISTS 1, MGET 1, MSET 1, TIME 1",
    "counters/decrement: MGET 1, MSET 1, TIME 1",
    "counters/set: MGET 1, MSET 1, TIME 1",
    "counters/reset: MGET 1, MSET 1, TIME 1",
    "counters/batch: EXISTS 1, MGET 1, MSET 1, TIME 1",
    "counters/get: MGET 1, TIME 1",
    "counters/delete: DEL 1, MGET 1, PTTL 1, TIME 1",
    // A lock that is acquired for the first time within an hour is entered into the index.
    "locks/acquire: EXISTS 1, MGET 1, PEXPIRE 2, SET 1, TIME 1, ZADD 2, ZRANGEBYSCORE 1",
    "locks/renew: MGET 1, SET 1, TIME 1",
    "locks/release: EXISTS 1, MGET 1, SET 2, TIME 1",
    "locks/validate: MGET 1, TIME 1",
    "locks/break: MGET 1, SET 1, TIME 1",
    "locks/get: MGET 1, TIME 1, ZRANGE 1",
    "locks/list: MGET 1, TIME 2, ZRANGEBYLEX 2",
    // The first lease of a space makes the set of its tags.
    "cache/get: EXISTS 1, MGET 1, PEXPIRE 1, PTTL 1, SET 1, TIME 1, ZADD 2, ZMSCORE 1",
    // The entry has a tag; without one, a hit does not ask for tags.
    "cache/get: MGET 1, TIME 1, ZMSCORE 1",
    "cache/fill: MGET 1, SET 1, TIME 1",
    // A large value stands in a hash, from which the old one is removed.
    "cache/fill: HDEL 1, HSET 1, MGET 1, PEXPIRE 1, PTTL 1, SET 1, TIME 1, ZMSCORE 2",
    "cache/set: MGET 1, PTTL 1, SET 1, TIME 1, ZMSCORE 1",
    "cache/invalidate: DEL 1, MGET 1, PTTL 1, TIME 1, ZADD 3, ZCARD 1, ZMSCORE 2",
    "cache/read: MGET 1, TIME 1, ZMSCORE 1",
    "ratelimit/check: EXISTS 1, MGET 1, SET 1, TIME 1",
    "ratelimit/check: MGET 1, PEXPIRE 1, TIME 1, ZADD 1, ZRANGE 1, ZREMRANGEBYSCORE 1",
    "ratelimit/check: EXISTS 1, MGET 1, SET 1, TIME 1",
    "ratelimit/check: EXISTS 1, MGET 1, SET 1, TIME 1",
    "ratelimit/check: EXISTS 1, MGET 1, PEXPIRE 1, SET 1, TIME 1, ZADD 1, ZRANGE 2, ZRANGEBYSCORE 1",
    "ratelimit/check: EXISTS 1, MGET 1, SET 1, TIME 1",
    "ratelimit/check_all: EXISTS 1, MGET 1, PEXPIRE 1, SET 2, TIME 1, ZADD 1, ZRANGE 2, ZRANGEBYSCORE 1",
    "ratelimit/peek: EXISTS 1, MGET 1, TIME 1",
    "ratelimit/refund: MGET 1, SET 1, TIME 1",
    "ratelimit/reset: MGET 1, SET 1, TIME 1",
    "ratelimit/release: MGET 1, PEXPIRE 1, SET 1, TIME 1, ZRANGE 1, ZREM 1, ZSCORE 1",
    "ratelimit/put_policy: EXISTS 1, MGET 1, MSET 1, TIME 1, ZADD 1",
    "ratelimit/put_policy: MGET 1, MSET 1, TIME 1",
    "ratelimit/get_policy: MGET 1, TIME 1",
    "ratelimit/list_policies: MGET 1, TIME 2, ZRANGEBYLEX 2",
    "ratelimit/delete_policy: DEL 1, MGET 1, PTTL 1, TIME 1, ZREM 1",
    // All four operations share one look and one commit.
    "atomic/run: EXISTS 2, HSET 1, MGET 1, MSET 1, PEXPIRE 1, PTTL 1, RPUSH 3, SET 3, TIME 1, ZADD 2, ZCARD 1",
    "batch/set: SET 2, TIME 1",
    "batch/get: MGET 1, TIME 1",
    // A number of 64 bits is read again as text, because Lua would lose its last digits.
    "batch/run: GET 1, INCRBY 1, RPUSH 1, TIME 1",
    // Without keys to watch it is one script, which first checks the types that its commands need.
    "transactions/run: GET 2, INCRBY 1, RPUSH 1, TIME 1, TYPE 2",
    "scripts/put: EXISTS 1, HSET 1, MGET 1, MSET 1, TIME 1, ZADD 1",
    "scripts/put: HSET 1, MGET 1, MSET 1, TIME 1",
    "scripts/get: HGET 1, MGET 1, TIME 1",
    "scripts/get_version: HGET 1, MGET 1, TIME 1",
    "scripts/list: HGET 1, MGET 1, TIME 2, ZRANGEBYLEX 2",
    "scripts/activate: HGET 1, MGET 1, MSET 1, TIME 1",
    "scripts/delete: DEL 2, MGET 1, PTTL 1, TIME 1, ZREM 1",
    // A script is found first; the commands of the example are GET and INCRBY.
    "scripts/run: GET 1, HGET 1, INCRBY 1, MGET 1, TIME 2",
    // A change of a key is followed by the look of this process at it.
    "keys/create: EXISTS 1, MGET 2, MSET 1, TIME 2, ZADD 1, ZCARD 1, ZRANGEBYLEX 1",
    "keys/list: MGET 1, TIME 2, ZRANGEBYLEX 2",
    "keys/get: MGET 1, TIME 1",
    "keys/update: MGET 2, MSET 1, TIME 2, ZRANGEBYLEX 1",
    "keys/rotate: MGET 2, MSET 1, TIME 2, ZRANGEBYLEX 1",
    "keys/revoke: MGET 2, MSET 1, SET 1, TIME 2, ZRANGEBYLEX 1, ZREM 1",
];

#[tokio::test]
async fn every_operation_runs_the_same_few_commands() {
    let server = Server::start(&[]);
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.batch_workers = 1;
    });
    let mut connection = server.connection();
    // The first time, the service loads the scripts.
    for entry in catalogue() {
        Seeded::new(&service, entry.needs).await.call(&entry).await;
    }
    let mut seen = Vec::new();
    for entry in catalogue() {
        let seeded = Seeded::new(&service, entry.needs).await;
        counted(&mut connection);
        let answer = seeded.call(&entry).await;
        assert!(answer.status.is_success(), "{}: {:#}", entry.name, answer.body);
        let counts = counted(&mut connection);
        let counts: Vec<_> = counts.iter().map(|(name, calls)| format!("{name} {calls}")).collect();
        seen.push(format!("{}: {}", entry.name, counts.join(", ")));
    }
    assert_eq!(seen, TABLE, "{seen:#?}");
}

/// The commit reads the time to live of a record that it overwrites, so that an undo can give it back. It does not for a
/// limit, which does no harm if it lasts longer.
#[tokio::test]
async fn limits_are_not_asked_for_their_ends() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    let rules = [
        json!({ "capacity": 9, "refill_tokens": 1, "refill_interval_ms": 60_000 }),
        json!({ "algorithm": "sliding_counter", "limit": 9, "window_ms": 60_000 }),
        json!({ "algorithm": "fixed_window", "limit": 9, "window_ms": 60_000 }),
    ];
    for rule in rules {
        let checks = ["a", "b", "c"].map(|key| {
            let mut check = rule.clone();
            check["key"] = key.into();
            check
        });
        let call = service.post("/ratelimit/check-all", json!({ "checks": checks }));
        call.clone().await.assert(200);
        counted(&mut server.connection());
        call.await.assert(200);
        let counts = counted(&mut server.connection());
        assert_eq!((counts["SET"], counts.get("PTTL")), (3, None), "{rule}");
    }
}
