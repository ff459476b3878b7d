//! Tests of `POST /batch`: commands over plain data keys, each with a result of its own.

use redis::Commands;
use serde_json::{Value, json};

use crate::{
    idempotency::losing_replies,
    support::{Server, Service, race, seed},
};

/// Runs a batch, and returns the results of its commands.
pub async fn batch(service: &Service, operations: Value) -> Vec<Value> {
    let answer = service.post("/batch", json!({ "operations": operations })).await.assert(200);
    answer["results"].as_array().unwrap().clone()
}

/// The result of each command, or the code of its error.
pub fn outcomes(results: &[Value]) -> Vec<Value> {
    let of = |result: &Value| match result["status"].as_str().unwrap() {
        "ok" => result["result"].clone(),
        _ => result["error"]["code"].clone(),
    };
    results.iter().map(of).collect()
}

/// The Redis key of a plain data key.
pub fn data_key(service: &Service, key: &str) -> String {
    format!("lockstep-data:{{{}}}:{key}", service.space)
}

#[tokio::test]
async fn each_command_has_its_own_result() {
    let service = Service::new();
    let operations = json!([
        { "type": "get", "key": "text" },
        { "type": "set", "key": "text", "value": "hello" },
        { "type": "get", "key": "text" },
        { "type": "incr", "key": "n" },
        { "type": "incr", "key": "n", "by": 5 },
        { "type": "decr", "key": "n", "by": 7 },
        { "type": "decr", "key": "n" },
        { "type": "hset", "key": "h", "fields": { "a": "1", "b": "2" } },
        { "type": "hset", "key": "h", "fields": { "b": "3", "c": "4" } },
        { "type": "hget", "key": "h", "field": "b" },
        { "type": "hget", "key": "h", "field": "z" },
        { "type": "rpush", "key": "l", "values": ["b", "c"] },
        { "type": "lpush", "key": "l", "values": ["a"] },
        { "type": "sadd", "key": "s", "members": ["x", "y", "x"] },
        { "type": "zadd", "key": "z", "members": [{ "member": "x", "score": 1.5 }, { "member": "y", "score": -2 }] },
        { "type": "expire", "key": "s", "ttl_ms": 60_000 },
        { "type": "expire", "key": "none", "ttl_ms": 60_000 },
        { "type": "del", "key": "l" },
        { "type": "del", "key": "l" },
        { "type": "set", "key": "text", "value": "", "ttl_ms": 60_000 },
        { "type": "get", "key": "text" },
    ]);
    let expected = json!([
        null, true, "hello", 1, 6, -1, -2, 2, 1, "3", null, 2, 3, 2, 2, true, false, true, false,
        true, ""
    ]);
    let results = batch(&service, operations.clone()).await;
    assert_eq!(Value::Array(outcomes(&results)), expected);
    for (result, operation) in results.iter().zip(operations.as_array().unwrap()) {
        assert_eq!((&result["type"], &result["key"]), (&operation["type"], &operation["key"]));
    }
    let mut raw = service.raw();
    let score: f64 =
        redis::cmd("ZSCORE").arg(data_key(&service, "z")).arg("x").query(&mut raw).unwrap();
    let ttl: i64 = redis::cmd("PTTL").arg(data_key(&service, "text")).query(&mut raw).unwrap();
    assert!((score - 1.5).abs() < f64::EPSILON && ttl > 0 && ttl <= 60_000);
}

/// The forms with a single value do what the longer ones do.
#[tokio::test]
async fn each_command_has_a_form_with_one_value() {
    let service = Service::new();
    let results = batch(
        &service,
        json!([
            { "type": "incr", "key": "n", "value": 5 },
            { "type": "decr", "key": "n", "value": 7 },
            { "type": "set", "key": "s", "value": 41 },
            { "type": "incr", "key": "s" },
            { "type": "hset", "key": "h", "field": "a", "value": "1" },
            { "type": "hget", "key": "h", "field": "a" },
            { "type": "rpush", "key": "l", "value": "b" },
            { "type": "lpush", "key": "l", "value": "a" },
            { "type": "sadd", "key": "m", "value": "x" },
            { "type": "zadd", "key": "z", "score": 1.5, "value": "x" },
            { "type": "set", "key": "b", "value": "aGk=", "encoding": "base64" },
            { "type": "sadd", "key": "c", "value": "aGk=", "encoding": "base64" },
            { "type": "get", "key": "b" },
            { "type": "set", "key": "least", "value": i64::MIN },
            { "type": "get", "key": "least" },
            { "type": "expire", "key": "b", "value": 60 },
        ]),
    )
    .await;
    let expected = json!([
        5,
        -2,
        true,
        42,
        1,
        "1",
        1,
        2,
        1,
        1,
        true,
        1,
        "hi",
        true,
        "-9223372036854775808",
        true
    ]);
    assert_eq!(json!(outcomes(&results)), expected);
    let ttl: i64 = service.raw().pttl(data_key(&service, "b")).unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
    let list: Vec<String> = service.raw().lrange(data_key(&service, "l"), 0, -1).unwrap();
    assert_eq!(list, ["a", "b"]);
    let score: f64 = service.raw().zscore(data_key(&service, "z"), "x").unwrap();
    assert_eq!(score, 1.5);
    // Under one key both forms are one call.
    let long = json!({ "operations": [{ "type": "sadd", "key": "k", "members": ["x"] }] });
    let short = json!({ "operations": [{ "type": "sadd", "key": "k", "value": "x" }] });
    service.post("/batch", long).key("form").await.assert(200);
    assert!(service.post("/batch", short).key("form").await.replayed());
}

#[tokio::test]
async fn a_single_value_of_the_wrong_kind_is_pointed_at() {
    let service = Service::new();
    for (command, pointer) in [
        (json!({ "type": "incr", "value": "5" }), "value"),
        (json!({ "type": "incr", "value": 1.5 }), "value"),
        (json!({ "type": "incr", "value": 9_223_372_036_854_775_808_u64 }), "value"),
        (json!({ "type": "decr", "value": i64::MIN }), "value"),
        (json!({ "type": "incr", "value": 5, "by": 5 }), "by"),
        (json!({ "type": "set" }), "value"),
        (json!({ "type": "set", "value": true }), "value"),
        (json!({ "type": "set", "value": 1.0 }), "value"),
        (json!({ "type": "set", "value": null }), "value"),
        (json!({ "type": "expire", "value": 0 }), "value"),
        (json!({ "type": "expire", "value": i64::MAX }), "value"),
        (json!({ "type": "expire", "value": 2_592_001 }), "value"),
        (json!({ "type": "expire", "value": 60, "ttl_ms": 60_000 }), "ttl_ms"),
        (json!({ "type": "hset", "value": "1" }), "field"),
        (json!({ "type": "hset", "field": "a" }), "value"),
        (json!({ "type": "hset", "field": "a", "value": 1 }), "value"),
        (json!({ "type": "hset", "field": "a", "value": "1", "fields": { "b": "2" } }), "fields"),
        (json!({ "type": "hset", "field": "a", "fields": { "b": "2" } }), "value"),
        (json!({ "type": "lpush", "value": 1 }), "value"),
        (json!({ "type": "lpush", "value": "1", "values": ["2"] }), "values"),
        (json!({ "type": "sadd", "value": "1", "members": ["2"] }), "members"),
        (json!({ "type": "sadd", "value": "1", "score": 1 }), "score"),
        (json!({ "type": "sadd", "value": "!", "encoding": "base64" }), "value"),
        (json!({ "type": "zadd", "value": "1" }), "score"),
        (json!({ "type": "zadd", "score": 1 }), "value"),
        (
            json!({ "type": "zadd", "score": 1, "members": [{ "member": "a", "score": 1 }] }),
            "members",
        ),
        (json!({ "type": "get", "value": "1" }), "value"),
        (json!({ "type": "hget", "field": "a", "value": "1" }), "value"),
    ] {
        let mut command = command;
        command["key"] = "k".into();
        for path in ["/batch", "/transactions"] {
            let body = json!({ "operations": [command.clone()] });
            let refused = service.post(path, body).await.expect_problem(422, "validation_failed");
            let expected = json!(format!("/operations/0/{pointer}"));
            assert_eq!(refused["errors"][0]["pointer"], expected, "{command}");
        }
    }
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn a_failed_command_is_reported_and_the_others_run() {
    let service = Service::new();
    let operations = json!([
        { "type": "set", "key": "a", "value": "ten" },
        { "type": "incr", "key": "a" },
        { "type": "hget", "key": "a", "field": "x" },
        { "type": "set", "key": "most", "value": "9223372036854775807" },
        { "type": "incr", "key": "most" },
        { "type": "lpush", "key": "most", "values": ["x"] },
        { "type": "get", "key": "most" },
    ]);
    let body = json!({ "operations": operations, "chunk_size": 3 });
    let answer = service.post("/batch", body).await.assert(200);
    let results = answer["results"].as_array().unwrap();
    let expected = json!([
        true,
        "wrong_type",
        "wrong_type",
        true,
        "wrong_type",
        "wrong_type",
        "9223372036854775807"
    ]);
    assert_eq!(Value::Array(outcomes(results)), expected);
    assert_eq!((&answer["succeeded"], &answer["failed"]), (&json!(3), &json!(4)));
    for result in results.iter().filter(|result| result["status"] == "error") {
        assert_eq!(result["error"]["outcome"], "not_applied");
        assert!(
            result["error"]["detail"].as_str().unwrap().ends_with('.')
                && result["result"].is_null()
        );
    }
}

#[tokio::test]
async fn numbers_are_exact_over_64_bits() {
    let service = Service::new();
    let operations = json!([
        { "type": "incr", "key": "n", "by": 9_007_199_254_740_993_i64 },
        { "type": "incr", "key": "n", "by": 9_214_364_837_600_034_814_i64 },
        { "type": "decr", "key": "m", "by": 9_223_372_036_854_775_807_i64 },
        { "type": "decr", "key": "m" },
        { "type": "decr", "key": "m" },
    ]);
    let expected = json!([9_007_199_254_740_993_i64, i64::MAX, -i64::MAX, i64::MIN, "wrong_type"]);
    // The replay has every digit too.
    for _ in 0..2 {
        let body = json!({ "operations": operations });
        let answer = service.post("/batch", body).key("exact").await.assert(200);
        assert_eq!(Value::Array(outcomes(answer["results"].as_array().unwrap())), expected);
    }
}

#[tokio::test]
async fn bytes_are_sent_and_returned_as_base64() {
    let service = Service::new();
    let every_byte = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fYGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn+AgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq+wsbKztLW2t7i5uru8vb6/wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t/g4eLj5OXm5+jp6uvs7e7v8PHy8/T19vf4+fr7/P3+/w==";
    let operations = json!([
        { "type": "set", "key": "b", "value": every_byte, "encoding": "base64" },
        { "type": "get", "key": "b" },
        { "type": "get", "key": "b", "encoding": "base64" },
        { "type": "hset", "key": "h", "fields": { "f": "aGk=" }, "encoding": "base64" },
        { "type": "hget", "key": "h", "field": "f" },
        { "type": "hget", "key": "h", "field": "f", "encoding": "base64" },
        { "type": "sadd", "key": "s", "members": ["/w=="], "encoding": "base64" },
    ]);
    for _ in 0..2 {
        let body = json!({ "operations": operations });
        let answer = service.post("/batch", body).key("bytes").await.assert(200);
        let results = answer["results"].as_array().unwrap();
        let expected = json!([true, every_byte, every_byte, 1, "hi", "aGk=", 1]);
        assert_eq!(Value::Array(outcomes(results)), expected);
        let encodings: Vec<_> = results.iter().map(|it| it["encoding"].as_str()).collect();
        assert_eq!(
            encodings,
            [None, Some("base64"), Some("base64"), None, None, Some("base64"), None]
        );
    }
    let held: Vec<u8> =
        redis::cmd("GET").arg(data_key(&service, "b")).query(&mut service.raw()).unwrap();
    assert_eq!(held, (0..=255).collect::<Vec<u8>>());
}

#[tokio::test]
async fn an_invalid_command_is_pointed_at_and_nothing_runs() {
    let service = Service::new();
    let good = json!({ "type": "set", "key": "a", "value": "1" });
    let cases = [
        (json!({ "type": "flushall", "key": "a" }), "command_not_allowed", "/type"),
        (json!({ "type": "SET", "key": "a", "value": "1" }), "command_not_allowed", "/type"),
        (json!({ "key": "a" }), "validation_failed", "/type"),
        (json!({ "type": "get" }), "validation_failed", "/key"),
        (json!({ "type": "get", "key": "{a}" }), "invalid_id", "/key"),
        (json!({ "type": "get", "key": "a", "value": "1" }), "validation_failed", "/value"),
        (json!({ "type": "get", "key": "a", "vlue": "1" }), "unknown_field", "/vlue"),
        (json!({ "type": "set", "key": "a" }), "validation_failed", "/value"),
        (json!({ "type": "set", "key": "a", "value": 1.5 }), "validation_failed", "/value"),
        (
            json!({ "type": "set", "key": "a", "value": "1", "ttl_ms": 0 }),
            "validation_failed",
            "/ttl_ms",
        ),
        (
            json!({ "type": "set", "key": "a", "value": "?", "encoding": "base64" }),
            "validation_failed",
            "/value",
        ),
        (
            json!({ "type": "set", "key": "a", "value": "1", "encoding": "hex" }),
            "validation_failed",
            "/encoding",
        ),
        (json!({ "type": "incr", "key": "a", "by": 1.5 }), "validation_failed", "/by"),
        (json!({ "type": "decr", "key": "a", "by": i64::MIN }), "validation_failed", "/by"),
        (json!({ "type": "expire", "key": "a" }), "validation_failed", "/ttl_ms"),
        (json!({ "type": "hset", "key": "a" }), "validation_failed", "/fields"),
        (json!({ "type": "hset", "key": "a", "fields": {} }), "validation_failed", "/fields"),
        (
            json!({ "type": "hset", "key": "a", "fields": { "x/y": "?" }, "encoding": "base64" }),
            "validation_failed",
            "/fields/x~1y",
        ),
        (json!({ "type": "hget", "key": "a" }), "validation_failed", "/field"),
        (json!({ "type": "lpush", "key": "a", "values": [] }), "validation_failed", "/values"),
        (
            json!({ "type": "rpush", "key": "a", "values": ["x", 1] }),
            "validation_failed",
            "/values/1",
        ),
        (
            json!({ "type": "sadd", "key": "a", "members": [{ "member": "x", "score": 1 }] }),
            "validation_failed",
            "/members/0",
        ),
        (
            json!({ "type": "zadd", "key": "a", "members": ["x"] }),
            "validation_failed",
            "/members/0",
        ),
        (
            json!({ "type": "zadd", "key": "a", "members": [{ "member": "x" }] }),
            "validation_failed",
            "/members/0/score",
        ),
        (
            json!({ "type": "zadd", "key": "a", "members": [{ "member": "x", "score": "1" }] }),
            "validation_failed",
            "/members/0/score",
        ),
        (json!([]), "validation_failed", ""),
        (json!(7), "validation_failed", ""),
    ];
    let before = service.snapshot();
    for (bad, code, pointer) in cases {
        for path in ["/batch", "/transactions"] {
            let body = json!({ "operations": [good, bad] });
            let refused = service.post(path, body).await.expect_problem(422, code);
            let expected = format!("/operations/1{pointer}");
            assert_eq!(refused["errors"][0]["pointer"], expected, "{bad}: {refused:#}");
        }
    }
    for (body, pointer) in [
        (json!({ "operations": [] }), "/operations"),
        (
            json!({ "operations": vec![json!({ "type": "get", "key": "a" }); 10_001] }),
            "/operations",
        ),
        (json!({ "operations": [good], "chunk_size": 0 }), "/chunk_size"),
        (json!({ "operations": [good], "chunk_size": 1001 }), "/chunk_size"),
        (json!({}), "/operations"),
    ] {
        let refused = service.post("/batch", body).await.expect_problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("*{{{}}}*", service.space))
        .query(&mut service.raw())
        .unwrap();
    assert!(keys.is_empty(), "{keys:?}");
    service.assert_unchanged(&before);
}

/// Data keys may have the names of keys of the service, and reach none of them.
#[tokio::test]
async fn the_keys_of_the_service_cannot_be_reached() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("account:alice", "10").await;
    let before = service.snapshot();
    for key in ["account:alice", "alice", "lockstep", "once:k", "index:accounts"] {
        let operations = json!([
            { "type": "get", "key": key },
            { "type": "set", "key": key, "value": "mine" },
            { "type": "expire", "key": key, "ttl_ms": 1 },
        ]);
        assert_eq!(
            outcomes(&batch(&service, operations).await),
            [json!(null), json!(true), json!(true)]
        );
        service.post("/batch/set", json!({ "values": { key: "mine" } })).await.assert(200);
        let body = json!({ "operations": [{ "type": "del", "key": key }] });
        service.post("/transactions", body).await.assert(200);
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn chunks_of_any_size_run_in_order() {
    let service = Service::new();
    let operations: Vec<Value> = (0..250).map(|_| json!({ "type": "incr", "key": "n" })).collect();
    for (round, chunk_size) in [1, 7, 100, 1000].into_iter().enumerate() {
        let body = json!({ "operations": operations, "chunk_size": chunk_size });
        let answer = service.post("/batch", body).await.assert(200);
        let expected: Vec<Value> = (1..=250).map(|number| json!(number + 250 * round)).collect();
        assert_eq!(outcomes(answer["results"].as_array().unwrap()), expected);
    }
    // Commands with more arguments than one script can take run in several scripts.
    let values = vec!["x"; 1900];
    let operations: Vec<Value> =
        (0..10).map(|_| json!({ "type": "rpush", "key": "l", "values": values })).collect();
    let expected: Vec<Value> = (1..=10).map(|number| json!(1900 * number)).collect();
    assert_eq!(outcomes(&batch(&service, json!(operations)).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_under_an_idempotency_key_happens_once() {
    let service = Service::new();
    let operations: Vec<Value> = (0..30)
        .map(|number| json!({ "type": "incr", "key": format!("n{}", number % 3) }))
        .collect();
    let body = json!({ "operations": operations, "chunk_size": 10 });
    let answers = race(16, |_| service.post("/batch", body.clone()).key("b")).await;
    answers.assert_all_equal(200);
    assert!(service.post("/batch", body.clone()).key("b").await.replayed());
    let sums = json!([{ "type": "get", "key": "n0" }, { "type": "get", "key": "n2" }]);
    assert_eq!(outcomes(&batch(&service, sums).await), [json!("10"), json!("10")]);
    // Another call under the key is refused and does nothing: one with more commands, with other
    // chunks, with another last command, or of another operation.
    let mut more = operations.clone();
    more.push(json!({ "type": "incr", "key": "n0" }));
    let mut last = operations.clone();
    last[29] = json!({ "type": "incr", "key": "n0" });
    for other in [
        json!({ "operations": more, "chunk_size": 10 }),
        json!({ "operations": operations, "chunk_size": 11 }),
        json!({ "operations": last, "chunk_size": 10 }),
        json!({ "operations": [{ "type": "incr", "key": "n0" }] }),
    ] {
        service.post("/batch", other).key("b").await.expect_problem(422, "idempotency_key_reused");
    }
    let other = json!({ "counter": "c" });
    let answer = service.post("/counters/increment", other).key("b").await;
    answer.expect_problem(422, "idempotency_key_reused");
    assert_eq!(outcomes(&batch(&service, json!([{ "type": "get", "key": "n0" }])).await), ["10"]);
}

/// The record of the first chunk has just expired, and that of the second has not: the answer says what
/// has happened, and the rest of the batch runs.
#[tokio::test]
async fn the_records_of_later_chunks_outlive_that_of_the_first() {
    let service = Service::new();
    let of = |key: &str| {
        let operations = vec![json!({ "type": "incr", "key": key }); 4];
        json!({ "operations": operations, "chunk_size": 2 })
    };
    service.post("/batch", of("n")).key("b").await.assert(200);
    redis::cmd("DEL").arg(service.key("once", "b")).exec(&mut service.raw()).unwrap();
    let answer = service.post("/batch", of("m")).key("b").await.assert(200);
    let reused = json!("idempotency_key_reused");
    let expected = [json!(1), json!(2), reused.clone(), reused];
    assert_eq!(outcomes(answer["results"].as_array().unwrap()), expected);
}

/// A chunk whose idempotency record is foreign fails as a whole, and the other chunks run.
#[tokio::test]
async fn a_failed_chunk_is_an_error_of_each_of_its_commands() {
    let service = Service::new();
    seed(&mut service.raw(), &service.key("once", "b 1"), "list", "x");
    let operations: Vec<Value> = (0..6).map(|_| json!({ "type": "incr", "key": "n" })).collect();
    let body = json!({ "operations": operations, "chunk_size": 2 });
    let answer = service.post("/batch", body).key("b").await.assert(200);
    let internal = json!("internal_error");
    let expected = [json!(1), json!(2), internal.clone(), internal, json!(3), json!(4)];
    assert_eq!(outcomes(answer["results"].as_array().unwrap()), expected);
    assert_eq!((&answer["succeeded"], &answer["failed"]), (&json!(4), &json!(2)));
}

/// Every connection loses its second reply: every other chunk has run, with an unknown outcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_an_unknown_outcome_of_each_command_of_its_chunk() {
    let direct = Service::new();
    batch(&direct, json!([{ "type": "set", "key": "n", "value": "0" }])).await;
    let service = losing_replies(&direct, 1).await;
    let body =
        json!({ "operations": vec![json!({ "type": "incr", "key": "n" }); 8], "chunk_size": 2 });
    let answer = service.post("/batch", body).await.assert(200);
    let results = answer["results"].as_array().unwrap();
    let unknown = json!("outcome_unknown");
    let expected = [
        json!(1),
        json!(2),
        unknown.clone(),
        unknown.clone(),
        json!(5),
        json!(6),
        unknown.clone(),
        unknown,
    ];
    assert_eq!(outcomes(results), expected);
    for result in results.iter().filter(|result| result["status"] == "error") {
        assert_eq!(result["error"]["outcome"], "unknown");
    }
    assert_eq!(outcomes(&batch(&direct, json!([{ "type": "get", "key": "n" }])).await), ["8"]);
}

/// A batch of ten thousand chunks on an unavailable server is answered soon, and not after ten thousand
/// timeouts.
#[tokio::test]
async fn an_unavailable_store_ends_the_batch_early() {
    let server = Server::start(&[]);
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.timeout = std::time::Duration::from_millis(300);
    });
    drop(server);
    let operations = vec![json!({ "type": "del", "key": "n" }); 8000];
    let body = json!({ "operations": operations, "chunk_size": 1 });
    let answer = service.post("/batch", body).await.assert(200);
    for result in answer["results"].as_array().unwrap() {
        let error = &result["error"];
        assert_eq!(
            (&error["code"], &error["outcome"]),
            (&json!("store_unavailable"), &json!("not_applied"))
        );
    }
    assert_eq!((&answer["succeeded"], &answer["failed"]), (&json!(0), &json!(8000)));
}

/// A short call that reads a long value again and again exceeds the limit of reads; its writes happen.
#[tokio::test]
async fn reads_are_bounded() {
    let service = Service::new();
    let long = "x".repeat(200_000);
    service.post("/batch/set", json!({ "values": { "long": long } })).await.assert(200);
    let mut operations = vec![json!({ "type": "get", "key": "long" }); 300];
    operations.push(json!({ "type": "incr", "key": "n" }));
    operations.push(json!({ "type": "hset", "key": "h", "fields": { "f": "v" } }));
    operations.push(json!({ "type": "hget", "key": "h", "field": "f" }));
    for chunk_size in [10, 1000] {
        let body = json!({ "operations": operations, "chunk_size": chunk_size });
        let answer = service.post("/batch", body).await.assert(200);
        let results = outcomes(answer["results"].as_array().unwrap());
        // 21 of the values are the first that exceed 4 MiB.
        let read = results.iter().take_while(|result| **result == *long).count();
        assert_eq!(read, 21);
        assert!(results[21..300].iter().all(|result| result == "result_too_large"));
        assert!(results[300].is_number() && results[301].is_number());
        assert_eq!(results[302], "result_too_large");
    }
}

/// Each score is the number that was sent, to the last bit.
#[tokio::test]
async fn scores_are_exact() {
    let service = Service::new();
    let scores =
        [449.491_064_788_738_13, 0.1 + 0.2, f64::MAX, f64::MIN_POSITIVE, -5e-324, 1e15 + 0.3];
    let members: Vec<Value> = scores
        .iter()
        .map(|score| json!({ "member": format!("{score:e}"), "score": score }))
        .collect();
    batch(&service, json!([{ "type": "zadd", "key": "z", "members": members }])).await;
    for score in scores {
        let mut command = redis::cmd("ZSCORE");
        command.arg(data_key(&service, "z")).arg(format!("{score:e}"));
        let kept: f64 = command.query(&mut service.raw()).unwrap();
        assert_eq!(kept.to_bits(), score.to_bits(), "{score:e}");
    }
}
