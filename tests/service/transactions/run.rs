//! Tests of `POST /transactions`: commands over plain data keys with guards and watched keys.

use std::{
    collections::BTreeMap,
    future::Future,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    batch::run::{batch, data_key, outcomes},
    support::{Server, Service, race, seed, wait_until},
};

fn increment(key: &str) -> Value {
    json!({ "operations": [{ "type": "incr", "key": key }] })
}

/// The data keys of a space, byte for byte.
fn data(service: &Service) -> BTreeMap<String, Vec<u8>> {
    let mut raw = service.raw();
    let pattern = data_key(service, "*");
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut raw).unwrap();
    let dump = |key: String| {
        let content = redis::cmd("DUMP").arg(&key).query(&mut raw).unwrap();
        (key, content)
    };
    keys.into_iter().map(dump).collect()
}

async fn get(service: &Service, key: &str) -> Value {
    outcomes(&batch(service, json!([{ "type": "get", "key": key }])).await)[0].clone()
}

#[tokio::test]
async fn runs_all_operations_and_returns_the_watched_values() {
    let service = Service::new();
    batch(&service, json!([{ "type": "set", "key": "balance", "value": "42" }])).await;
    let body = json!({
        "watch": ["balance", "none"],
        "guards": [
            { "key": "balance", "op": "gte", "value": "10" },
            { "key": "none", "op": "absent" }
        ],
        "operations": [
            { "type": "decr", "key": "balance", "by": 10 },
            { "type": "rpush", "key": "orders", "values": ["order-7"] },
            { "type": "set", "key": "bytes", "value": "/w==", "encoding": "base64" },
            { "type": "get", "key": "bytes" },
            { "type": "get", "key": "balance" }
        ]
    });
    let answer = service.post("/transactions", body).await.assert(200);
    let results = outcomes(answer["results"].as_array().unwrap());
    assert_eq!(results, [json!(32), json!(1), json!(true), json!("/w=="), json!("32")]);
    assert_eq!(answer["watched"], json!({ "balance": "42", "none": null }));
    assert_eq!(answer["attempts"], 1);
    // Without guards, all operations run.
    let answer = service.post("/transactions", increment("balance")).await.assert(200);
    assert_eq!(outcomes(answer["results"].as_array().unwrap()), [json!(33)]);
    assert_eq!(answer["watched"], json!({}));
}

#[tokio::test]
async fn a_failed_guard_is_explained_and_nothing_runs() {
    let service = Service::new();
    let operations = json!([
        { "type": "set", "key": "n", "value": "10" },
        { "type": "set", "key": "text", "value": "ten" },
        { "type": "rpush", "key": "list", "values": ["x"] },
    ]);
    batch(&service, operations).await;
    let before = data(&service);
    for (key, op, value, holds) in [
        ("n", "eq", "10", true),
        ("n", "eq", "10.0", false),
        ("n", "ne", "10", false),
        ("n", "ne", "11", true),
        ("none", "ne", "11", true),
        ("n", "gt", "9.99", true),
        ("n", "gt", "10", false),
        ("n", "gte", "10.0", true),
        ("n", "lt", "10", false),
        ("n", "lte", "10", true),
        ("text", "gte", "0", false),
        ("none", "lte", "0", false),
        ("none", "eq", "", false),
        ("list", "eq", "x", false),
        ("list", "exists", "", true),
        ("list", "absent", "", false),
        ("none", "exists", "", false),
        ("none", "absent", "", true),
    ] {
        let value = (!["exists", "absent"].contains(&op)).then_some(value);
        let body = json!({
            "guards": [{ "key": "n", "op": "exists" }, { "key": key, "op": op, "value": value }],
            "operations": [{ "type": "get", "key": "n" }]
        });
        let answer = service.post("/transactions", body).await;
        if holds {
            answer.assert(200);
            continue;
        }
        let refused = answer.expect_problem(409, "guard_failed");
        assert_eq!((&refused["key"], &refused["op"]), (&json!(key), &json!(op)));
        assert_eq!(refused["expected"], json!(value));
        let actual = match key {
            "n" => json!("10"),
            "text" => json!("ten"),
            "list" => json!("a list"),
            _ => Value::Null,
        };
        assert_eq!(refused["actual"], actual);
    }
    assert_eq!(data(&service), before);
}

/// A call whose later command would fail is refused before the first one runs.
#[tokio::test]
async fn types_are_checked_before_any_command_runs() {
    let service = Service::new();
    let operations = json!([
        { "type": "set", "key": "text", "value": "ten" },
        { "type": "set", "key": "most", "value": "9223372036854775807" },
        { "type": "set", "key": "odd", "value": "01" },
        { "type": "hset", "key": "hash", "fields": { "a": "1" } },
        { "type": "rpush", "key": "list", "values": ["x"] },
        { "type": "sadd", "key": "set", "members": ["x"] },
        { "type": "zadd", "key": "zset", "members": [{ "member": "x", "score": 1 }] },
    ]);
    batch(&service, operations).await;
    let before = data(&service);
    let first = json!({ "type": "set", "key": "other", "value": "1" });
    let member = json!([{ "member": "x", "score": 1 }]);
    for bad in [
        json!([{ "type": "incr", "key": "text" }]),
        json!([{ "type": "incr", "key": "odd" }]),
        json!([{ "type": "incr", "key": "most" }]),
        json!([{ "type": "incr", "key": "hash" }]),
        json!([{ "type": "get", "key": "list" }]),
        json!([{ "type": "hset", "key": "list", "fields": { "a": "1" } }]),
        json!([{ "type": "hget", "key": "text", "field": "a" }]),
        json!([{ "type": "lpush", "key": "set", "values": ["x"] }]),
        json!([{ "type": "rpush", "key": "text", "values": ["x"] }]),
        json!([{ "type": "sadd", "key": "zset", "members": ["x"] }]),
        json!([{ "type": "zadd", "key": "set", "members": member }]),
        // The type that an earlier command leaves is the one that a later command finds.
        json!([{ "type": "set", "key": "hash", "value": "x" }, { "type": "hget", "key": "hash", "field": "a" }]),
        json!([{ "type": "set", "key": "new", "value": "x" }, { "type": "incr", "key": "new" }]),
        json!([{ "type": "decr", "key": "most" }, { "type": "incr", "key": "most" }, { "type": "incr", "key": "most" }]),
        json!([{ "type": "rpush", "key": "new", "values": ["x"] }, { "type": "get", "key": "new" }]),
    ] {
        let mut operations = vec![first.clone()];
        operations.extend(bad.as_array().unwrap().clone());
        let last = operations.len() - 1;
        let body = json!({ "operations": operations });
        let refused = service.post("/transactions", body).await.expect_problem(422, "wrong_type");
        assert_eq!(refused["errors"][0]["pointer"], format!("/operations/{last}"), "{bad}");
        assert_eq!(refused["key"], operations[last]["key"]);
        let [actual, needed] = ["actual", "needed"].map(|name| refused[name].as_str().unwrap());
        assert!(actual.starts_with("a ") && needed.starts_with("a ") && actual != needed);
        assert_eq!(data(&service), before, "{bad}");
    }
    let good = json!({ "operations": [
        first,
        { "type": "del", "key": "hash" },
        { "type": "incr", "key": "hash" },
        { "type": "set", "key": "list", "value": "5" },
        { "type": "decr", "key": "list", "by": 6 },
        { "type": "decr", "key": "most" },
        { "type": "incr", "key": "most" },
        { "type": "expire", "key": "zset", "ttl_ms": 60_000 },
        { "type": "zadd", "key": "zset", "members": [{ "member": "y", "score": 2 }] }
    ] });
    let answer = service.post("/transactions", good).await.assert(200);
    let results = Value::Array(outcomes(answer["results"].as_array().unwrap()));
    assert_eq!(results, json!([true, true, 1, true, -1, i64::MAX - 1, i64::MAX, true, 1]));
}

#[tokio::test]
async fn a_problem_points_to_the_invalid_field() {
    let service = Service::new();
    let operations = json!([{ "type": "get", "key": "a" }]);
    let guard = |op: &str, value: Value| json!({ "operations": operations, "guards": [{ "key": "a", "op": op, "value": value }] });
    let many: Vec<String> = (0..129).map(|number| format!("k{number}")).collect();
    let guards: Vec<Value> = many.iter().map(|key| json!({ "key": key, "op": "exists" })).collect();
    let values = vec!["x"; 1999];
    let large: Vec<Value> =
        (0..4).map(|_| json!({ "type": "rpush", "key": "l", "values": values })).collect();
    for (body, code, pointer) in [
        (json!({ "operations": [] }), "validation_failed", "/operations"),
        (
            json!({ "operations": vec![operations[0].clone(); 129] }),
            "validation_failed",
            "/operations",
        ),
        (json!({ "operations": large }), "validation_failed", "/operations"),
        (
            json!({ "operations": [{ "type": "rpush", "key": "l", "values": vec!["x"; 2001] }] }),
            "validation_failed",
            "/operations/0",
        ),
        (
            json!({ "operations": operations, "max_attempts": 0 }),
            "validation_failed",
            "/max_attempts",
        ),
        (
            json!({ "operations": operations, "max_attempts": 11 }),
            "validation_failed",
            "/max_attempts",
        ),
        (json!({ "operations": operations, "watch": many }), "validation_failed", "/watch"),
        (json!({ "operations": operations, "watch": ["{a}"] }), "invalid_id", "/watch/0"),
        (json!({ "operations": operations, "guards": guards }), "validation_failed", "/guards"),
        (guard("like", json!("x")), "validation_failed", "/guards/0/op"),
        (
            json!({ "operations": operations, "guards": [["a", "eq", "x"]] }),
            "validation_failed",
            "/guards/0",
        ),
        (guard("eq", Value::Null), "validation_failed", "/guards/0/value"),
        (guard("eq", json!(1)), "validation_failed", "/guards/0/value"),
        (guard("gt", json!("ten")), "validation_failed", "/guards/0/value"),
        (guard("gt", json!("nan")), "validation_failed", "/guards/0/value"),
        (
            guard("gt", json!("12345678901234567890123456789012")),
            "validation_failed",
            "/guards/0/value",
        ),
        (guard("exists", json!("x")), "validation_failed", "/guards/0/value"),
        (json!({ "operations": operations, "guard": [] }), "unknown_field", "/guard"),
    ] {
        let refused = service.post("/transactions", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contending_transactions_add_up_to_their_successes() {
    let service = Service::new();
    let tasks = race(64, |_| {
        let service = service.clone();
        async move {
            let (mut done, mut conflicts) = (0_u64, 0_u64);
            for _ in 0..5 {
                let body = json!({
                    "watch": ["n"],
                    "operations": [{ "type": "incr", "key": "n" }],
                    "max_attempts": 2
                });
                let answer = service.post("/transactions", body).await;
                if answer.status == 200 {
                    // The watched value is the one right before the increment.
                    let after = answer.body["results"][0]["result"].as_u64().unwrap();
                    let before = answer.body["watched"]["n"].as_str().map_or("0", |text| text);
                    assert_eq!(before.parse::<u64>().unwrap() + 1, after);
                    assert!(answer.body["attempts"].as_u64().unwrap() <= 2);
                    done += 1;
                } else {
                    let refused = answer.expect_problem(409, "transaction_conflict");
                    assert_eq!(
                        (&refused["attempts"], &refused["retryable"]),
                        (&json!(2), &json!(true))
                    );
                    conflicts += 1;
                }
            }
            (done, conflicts)
        }
    });
    let all = tasks.await;
    let done: u64 = all.iter().map(|(done, _)| done).sum();
    let conflicts: u64 = all.iter().map(|(_, conflicts)| conflicts).sum();
    assert_eq!(done + conflicts, 320);
    assert!(done >= 5 && conflicts > 0, "{done} went well, {conflicts} did not");
    assert_eq!(get(&service, "n").await, json!(done.to_string()));
}

/// Guarded transfers between data keys neither create nor lose anything, and no key goes below zero.
#[tokio::test(flavor = "multi_thread")]
async fn guards_hold_at_the_time_of_the_commit() {
    let service = Service::new();
    service.post("/batch/set", json!({ "values": { "a": "50", "b": "0" } })).await.assert(200);
    let tasks = race(40, |_| {
        let service = service.clone();
        async move {
            let mut refused = 0;
            for _ in 0..5 {
                let body = json!({
                    "guards": [{ "key": "a", "op": "gte", "value": "3" }],
                    "operations": [
                        { "type": "decr", "key": "a", "by": 3 },
                        { "type": "incr", "key": "b", "by": 3 }
                    ],
                    "max_attempts": 10
                });
                let answer = service.post("/transactions", body).await;
                refused += u64::from(answer.body["code"] == "guard_failed");
            }
            refused
        }
    });
    let refused: u64 = tasks.await.into_iter().sum();
    assert!(refused > 0);
    assert_eq!(get(&service, "a").await, "2");
    assert_eq!(get(&service, "b").await, "48");
}

#[tokio::test(flavor = "multi_thread")]
async fn happens_once_under_an_idempotency_key_and_records_refusals() {
    let service = Service::new();
    let body = json!({
        "watch": ["n"],
        "guards": [{ "key": "n", "op": "absent" }],
        "operations": [{ "type": "incr", "key": "n", "by": 7 }],
        // A caller that loses its only attempt to another one finds the recorded answer.
        "max_attempts": 1
    });
    let answers = race(32, |_| service.post("/transactions", body.clone()).key("t")).await;
    assert_eq!(answers.replayed(), 31);
    assert_eq!(answers.assert_all_equal(200)["watched"], json!({ "n": null }));
    let again = service.post("/transactions", body.clone()).key("t").await;
    assert!(again.replayed());
    assert_eq!(get(&service, "n").await, "7");
    // Another key gets a refusal, which is repeated even when the guard would hold by now.
    service.post("/transactions", body.clone()).key("u").await.expect_problem(409, "guard_failed");
    batch(&service, json!([{ "type": "del", "key": "n" }])).await;
    let answer = service.post("/transactions", body.clone()).key("u").await;
    assert!(answer.replayed());
    answer.expect_problem(409, "guard_failed");
    // The key stands for the whole call with its guards.
    let mut other = body.clone();
    other["guards"][0]["op"] = json!("exists");
    service
        .post("/transactions", other)
        .key("t")
        .await
        .expect_problem(422, "idempotency_key_reused");
    assert_eq!(get(&service, "n").await, Value::Null);
}

/// A wrong type depends on the state, so its refusal is recorded under the key too.
#[tokio::test]
async fn a_wrong_type_is_recorded_under_the_key() {
    let service = Service::new();
    service.post("/batch/set", json!({ "values": { "n": "ten" } })).await.assert(200);
    for body in [
        json!({ "operations": [{ "type": "incr", "key": "n" }] }),
        json!({ "watch": ["n"], "operations": [{ "type": "incr", "key": "n" }] }),
    ] {
        let key = body.to_string().len().to_string();
        service
            .post("/transactions", body.clone())
            .key(&key)
            .await
            .expect_problem(422, "wrong_type");
        service.post("/batch/set", json!({ "values": { "n": "1" } })).await.assert(200);
        let again = service.post("/transactions", body).key(&key).await;
        assert!(again.replayed());
        let refused = again.expect_problem(422, "wrong_type");
        assert_eq!(refused["errors"][0]["pointer"], "/operations/0");
        service.post("/batch/set", json!({ "values": { "n": "ten" } })).await.assert(200);
    }
}

/// A conflict is not recorded, because the next send may succeed.
#[tokio::test(flavor = "multi_thread")]
async fn without_watched_keys_there_are_no_conflicts() {
    let service = Service::new();
    race(64, |_| {
        let service = service.clone();
        async move {
            for _ in 0..5 {
                let body = json!({
                    "operations": [{ "type": "incr", "key": "n" }, { "type": "incr", "key": "m", "by": 2 }],
                    "max_attempts": 1
                });
                let answer = service.post("/transactions", body).await.assert(200);
                let results = outcomes(answer["results"].as_array().unwrap());
                assert_eq!(2 * results[0].as_u64().unwrap(), results[1].as_u64().unwrap());
            }
        }
    }).await;
    assert_eq!((get(&service, "n").await, get(&service, "m").await), (json!("320"), json!("640")));
}

#[tokio::test]
async fn guards_compare_numbers_of_64_bits() {
    let service = Service::new();
    let (most, least) = (i64::MAX, i64::MIN);
    let run = async |value: &str, kind: &str, by: i64| {
        service.post("/batch/set", json!({ "values": { "n": value } })).await.assert(200);
        let body = json!({ "operations": [{ "type": kind, "key": "n", "by": by }] });
        service.post("/transactions", body).await
    };
    for (value, by) in [
        (0, most),
        (0, -most),
        (1, most - 1),
        (-1, -most),
        (most, -most),
        (most, 0),
        (least, most),
        (least, 0),
        (most - 1, 1),
        (least + 1, -1),
        (999_999_999, 1),
        (-1_000_000_000, 1),
        (-999_999_999, -1),
        (-9_223_372_036_000_000_000, -1),
        (-9_223_372_036_000_000_000, -854_775_808),
        (9_223_372_036_000_000_000, 1),
        (9_007_199_254_740_993, 9_007_199_254_740_993),
        (-5, 3),
        (5, -3),
    ] {
        let sum = value + by;
        let answer = run(&value.to_string(), "incr", by).await.assert(200);
        assert_eq!(answer["results"][0]["result"], sum, "{value} + {by}");
        let answer = run(&value.to_string(), "decr", -by).await.assert(200);
        assert_eq!(answer["results"][0]["result"], sum, "{value} - -{by}");
    }
    for (value, by) in [
        (most, 1),
        (1, most),
        (least, -1),
        (-2, -most),
        (most - 1, 2),
        (least + 1, -2),
        (-9_223_372_036_000_000_000, -854_775_809),
    ] {
        run(&value.to_string(), "incr", by).await.expect_problem(422, "wrong_type");
        run(&value.to_string(), "decr", -by).await.expect_problem(422, "wrong_type");
    }
    for text in [
        "",
        "-",
        "-0",
        "+1",
        "01",
        "00",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x10",
        "nan",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
    ] {
        let refused = run(text, "incr", 1).await.expect_problem(422, "wrong_type");
        assert_eq!(refused["actual"], "a string that is no whole number", "{text:?}");
    }
}

#[tokio::test]
async fn watched_values_and_reads_are_bounded() {
    let service = Service::new();
    let set = async |key: &str, length: usize| {
        let body = json!({ "values": { key: "x".repeat(length) } });
        service.post("/batch/set", body).await.assert(200);
    };
    set("fits", 65_536).await;
    set("long", 65_537).await;
    let watching =
        |key: &str| json!({ "watch": [key], "operations": [{ "type": "del", "key": "n" }] });
    service.post("/transactions", watching("fits")).await.assert(200);
    let refused = service.post("/transactions", watching("long")).await;
    assert_eq!(refused.expect_problem(422, "result_too_large")["most"], 65_536);
    // A transaction that does not read the value is not limited by its size.
    let mut operations = vec![json!({ "type": "incr", "key": "n" })];
    operations.extend(vec![json!({ "type": "get", "key": "long" }); 63]);
    operations.push(json!({ "type": "set", "key": "long", "value": "short" }));
    operations.extend(vec![json!({ "type": "get", "key": "long" }); 20]);
    let body = json!({ "operations": operations });
    service.post("/transactions", body).await.assert(200);
    set("long", 65_537).await;
    for wrong in [
        json!({ "type": "get", "key": "long" }),
        json!({ "type": "hget", "key": "hash", "field": "f" }),
    ] {
        let hash = json!({ "type": "hset", "key": "hash", "fields": { "f": "x".repeat(65_537) } });
        batch(&service, json!([hash])).await;
        let mut operations = vec![json!({ "type": "incr", "key": "n" })];
        operations.extend(vec![wrong; 64]);
        let body = json!({ "operations": operations });
        let refused =
            service.post("/transactions", body).await.expect_problem(422, "result_too_large");
        assert_eq!(refused["most"], 4 * 1024 * 1024);
        assert_eq!(get(&service, "n").await, "1", "all or none");
    }
    // As much as is allowed may be read, and not a byte more.
    set("byte", 1).await;
    let mut operations = vec![json!({ "type": "get", "key": "fits" }); 64];
    service.post("/transactions", json!({ "operations": operations })).await.assert(200);
    operations.push(json!({ "type": "get", "key": "byte" }));
    let refused = service.post("/transactions", json!({ "operations": operations })).await;
    refused.expect_problem(422, "result_too_large");
    // The size of the written value counts, whatever was there before.
    let body = json!({ "operations": [
        { "type": "del", "key": "hash" }, { "type": "get", "key": "hash" },
        { "type": "incr", "key": "hash" }, { "type": "get", "key": "hash" },
        { "type": "del", "key": "long" }, { "type": "hset", "key": "long", "fields": { "f": "1" } },
        { "type": "hget", "key": "long", "field": "f" }
    ] });
    let answer = service.post("/transactions", body).await.assert(200);
    let results = Value::Array(outcomes(answer["results"].as_array().unwrap()));
    assert_eq!(results, json!([true, null, 1, "1", true, 1, "1"]));
    for number in 0..70 {
        set(&format!("k{number}"), 65_000).await;
    }
    let keys: Vec<String> = (0..70).map(|number| format!("k{number}")).collect();
    let body = json!({ "watch": keys, "operations": [{ "type": "del", "key": "n" }] });
    let refused = service.post("/transactions", body).await.expect_problem(422, "result_too_large");
    assert_eq!(refused["most"], 4 * 1024 * 1024);
}

#[tokio::test]
async fn a_foreign_idempotency_record_is_an_error() {
    let service = Service::new();
    seed(&mut service.raw(), &service.key("once", "t"), "list", "x");
    let answer = service.post("/transactions", increment("n")).key("t").await;
    answer.expect_problem(500, "internal_error");
    assert_eq!(get(&service, "n").await, Value::Null);
}

/// A service with one connection for all transactions, so that each uses the one that the transaction
/// before has left.
fn with_one_connection(server: &Server) -> Service {
    Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.transactions = 1;
        settings.timeout = Duration::from_secs(5);
    })
}

/// Panics unless the next transaction succeeds. A WATCH that was left on its connection would make its
/// EXEC fail once the watched key changes.
async fn next_borrower_succeeds(service: &Service) {
    batch(service, json!([{ "type": "incr", "key": "n" }])).await;
    let mut body = increment("m");
    body["max_attempts"] = json!(1);
    let answer = service.post("/transactions", body).await.assert(200);
    assert_eq!(answer["attempts"], 1);
}

#[tokio::test]
async fn a_refusal_leaves_no_watch_on_its_connection() {
    let server = Server::of_this_run();
    let service = with_one_connection(&server);
    service.post("/batch/set", json!({ "values": { "n": "1", "text": "ten" } })).await.assert(200);
    for _ in 0..3 {
        let body = json!({
            "watch": ["n"], "guards": [{ "key": "n", "op": "absent" }],
            "operations": [{ "type": "incr", "key": "n" }]
        });
        service.post("/transactions", body.clone()).await.expect_problem(409, "guard_failed");
        next_borrower_succeeds(&service).await;
        service.post("/transactions", body).key("k").await.expect_problem(409, "guard_failed");
        next_borrower_succeeds(&service).await;
        let body = json!({ "watch": ["n"], "operations": [{ "type": "incr", "key": "text" }] });
        service.post("/transactions", body).await.expect_problem(422, "wrong_type");
        next_borrower_succeeds(&service).await;
    }
}

/// The caller disconnects at each point at which the service waits for anything.
#[tokio::test]
async fn a_cancelled_call_leaves_no_watch_on_its_connection() {
    let server = Server::of_this_run();
    let service = with_one_connection(&server);
    next_borrower_succeeds(&service).await;
    let mut finished = false;
    let mut polls = 0;
    while !finished {
        polls += 1;
        let body = json!({
            "watch": ["n"], "operations": [{ "type": "incr", "key": "n" }], "max_attempts": 10
        });
        let request = Request::post("/transactions")
            .header("host", "x")
            .header("content-type", "application/json")
            .header("lockstep-space", &service.space)
            .body(Body::from(body.to_string()))
            .unwrap();
        let mut call = Box::pin(service.router().oneshot(request));
        finished = !after_polls(&mut call, polls).await;
        drop(call);
        next_borrower_succeeds(&service).await;
        assert!(polls < 200, "a transaction is done after fewer turns");
    }
    assert!(polls >= 4, "there are several places to go away from, and {polls} were tried");
}

/// Polls a future this many times, each time after it was woken; true where it is still pending.
async fn after_polls<F: Future>(future: &mut std::pin::Pin<Box<F>>, polls: u32) -> bool {
    for _ in 0..polls {
        let woken = std::sync::Arc::new(Woken::default());
        let waker = Waker::from(std::sync::Arc::clone(&woken));
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(_) => return false,
            Poll::Pending => woken.0.notified().await,
        }
    }
    true
}

#[derive(Default)]
struct Woken(tokio::sync::Notify);

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify_one();
    }
}

/// Redis does not answer while a transaction waits for it: its connection is never used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_leaves_no_watch_on_its_connection() {
    let server = Server::of_this_run();
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.transactions = 1;
        settings.timeout = Duration::from_millis(300);
    });
    next_borrower_succeeds(&service).await;
    let mut connection = server.connection();
    redis::cmd("CLIENT").arg("PAUSE").arg(900).arg("ALL").exec(&mut connection).unwrap();
    let answer = service.post("/transactions", increment("n")).await;
    assert!(answer.status == 503 || answer.status == 504, "{:#}", answer.body);
    // This is answered once Redis runs again.
    redis::cmd("PING").exec(&mut connection).unwrap();
    for _ in 0..3 {
        next_borrower_succeeds(&service).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reloading_a_script_costs_no_attempt() {
    let server = Server::of_this_run();
    let service = with_one_connection(&server);
    for expected in 1..4 {
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.connection()).unwrap();
        let mut body = increment("n");
        body["max_attempts"] = json!(1);
        let answer = service.post("/transactions", body).await.assert(200);
        assert_eq!(
            (&answer["results"][0]["result"], &answer["attempts"]),
            (&json!(expected), &json!(1))
        );
    }
}

#[tokio::test]
async fn attempts_and_conflicts_are_counted() {
    let service = Service::new();
    service.post("/transactions", increment("n")).await.assert(200);
    let count = |name: &str| {
        let text = lockstep::telemetry::prometheus().render();
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or(0_u64)
    };
    let before = count("lockstep_transaction_attempts_total");
    // Another client changes the key between each read and its EXEC.
    let interference = tokio::spawn({
        let service = service.clone();
        async move {
            loop {
                service.post("/transactions", increment("n")).await.assert(200);
            }
        }
    });
    let body = json!({
        "watch": ["n"], "operations": [{ "type": "incr", "key": "n" }], "max_attempts": 1
    });
    let conflict = async || {
        let answer = service.post("/transactions", body.clone()).await;
        answer.body["code"] == "transaction_conflict"
    };
    wait_until("a conflict", conflict).await;
    interference.abort();
    assert!(count("lockstep_transaction_attempts_total") > before);
    assert!(count("lockstep_transaction_conflicts_total") > 0);
}
