//! `POST /cache/set`: values without a lease, in the order of their versions.

use serde_json::json;

use super::{MINUTE, fill, fill::wrong_values, get, invalidate, lease, set};
use crate::support::{Service, operation, race};

#[tokio::test]
async fn stores_whatever_is_there_without_a_version() {
    let service = Service::new();
    for version in 1..=3 {
        let answer = set(&service, json!({ "value": version.to_string() })).await.assert(200);
        assert_eq!([&answer["stored"], &answer["version"]], [&json!(true), &json!(version)]);
        let hit = get(&service, json!({})).await.assert(200);
        assert_eq!(hit["value"], version.to_string());
    }
}

#[tokio::test]
async fn only_what_is_newer_is_stored() {
    let service = Service::new();
    set(&service, json!({ "value": "a" })).await.assert(200);
    // A writer's versions are compared with those of writers.
    set(&service, json!({ "value": "b", "version": 0 })).await.assert(200);
    set(&service, json!({ "value": "c", "version": 7 })).await.assert(200);
    for version in [0, 6, 7] {
        let before = service.snapshot();
        let problem = set(&service, json!({ "value": "d", "version": version })).await;
        let problem = problem.expect_problem(409, "version_stale");
        assert_eq!(
            [&problem["key"], &problem["current_version"], &problem["given_version"]],
            [&json!("k"), &json!(7), &json!(version)]
        );
        service.assert_unchanged(&before);
    }
    let most = 9_007_199_254_740_991_u64;
    let answer = set(&service, json!({ "value": "e", "version": most })).await.assert(200);
    assert_eq!(answer["version"], most);
    assert_eq!(service.get("/cache/k").await.assert(200)["version"], most);
}

#[tokio::test]
async fn a_version_is_remembered_after_its_value() {
    let service = Service::new();
    set(&service, json!({ "version": 7 })).await.assert(200);
    invalidate(&service, json!({ "keys": ["k"] })).await.assert(200);
    set(&service, json!({ "version": 6 })).await.expect_problem(409, "version_stale");
    // What a reader has filled has the version of what was written last.
    let token = lease(&service).await;
    assert_eq!(fill(&service, &token, json!({})).await.assert(200)["version"], 7);
    set(&service, json!({ "version": 8, "ttl_ms": 1000 })).await.assert(200);
    service.advance_ms(MINUTE);
    set(&service, json!({ "version": 7 })).await.expect_problem(409, "version_stale");
    service.advance_ms(11 * MINUTE);
    set(&service, json!({ "version": 7 })).await.assert(200);
}

#[tokio::test]
async fn the_newest_of_many_stays() {
    let service = Service::new();
    let sets = race(64, |i| set(&service, json!({ "value": i.to_string(), "version": i }))).await;
    assert_eq!(sets.count(200) + sets.count_code("version_stale"), 64);
    let hit = get(&service, json!({})).await.assert(200);
    assert_eq!([&hit["value"], &hit["version"]], [&json!("63"), &json!(63)]);
}

#[tokio::test]
async fn stands_beside_the_books_in_one_step() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    set(&service, json!({ "key": "alice", "value": "10" })).await.assert(200);
    set(&service, json!({ "key": "bob", "value": "0", "tags": ["all"] })).await.assert(200);
    let transfer = |amount: &str| {
        let input = json!({ "from_account": "alice", "to_account": "bob", "amount": amount });
        operation("accounts/transfer", input)
    };
    let cache = |value: &str| {
        [
            operation("cache/set", json!({ "key": "alice", "value": value, "ttl_ms": MINUTE })),
            operation("cache/invalidate", json!({ "keys": ["x"], "tags": ["all"] })),
        ]
    };
    let [first, second] = cache("0");
    let before = service.snapshot();
    let refused = service.atomic(&[first.clone(), second.clone(), transfer("11")]).await;
    refused.expect_problem(409, "insufficient_funds");
    service.assert_unchanged(&before);
    let done = service.atomic(&[transfer("10"), first, second]).await.assert(200);
    assert_eq!(done["results"][1]["body"]["version"], 2);
    assert_eq!(service.get("/cache/alice").await.assert(200)["value"], "0");
    service.get("/cache/bob").await.expect_problem(404, "cache_miss");
}

#[tokio::test]
async fn several_steps_see_each_other() {
    let service = Service::new();
    let step =
        |body| operation("cache/set", super::with(json!({ "key": "k", "ttl_ms": MINUTE }), body));
    let gone = || operation("cache/invalidate", json!({ "keys": ["k"], "tags": ["t"] }));
    let large = "x".repeat(50_000);
    let set_large = || step(json!({ "value": large, "tags": ["t"] }));
    let set_small = || step(json!({ "value": "small", "tags": ["t"] }));
    let last = |answer: serde_json::Value| answer["value"].as_str().map(str::len);
    for (steps, expected) in [
        (vec![set_small(), gone(), set_large()], Some(50_000)),
        (vec![set_large(), gone(), set_small()], Some(5)),
        (vec![set_large(), set_large(), set_large()], Some(50_000)),
        (vec![set_small(), set_large(), gone()], None),
        (vec![gone(), set_small(), set_small()], Some(5)),
    ] {
        for _ in 0..2 {
            service.atomic(&steps).await.assert(200);
            assert_eq!(last(service.get("/cache/k").await.body), expected);
        }
    }
}

#[tokio::test]
async fn rejects_what_is_no_value() {
    let service = Service::new();
    let more = [
        (json!({ "version": -1 }), "/version"),
        (json!({ "version": 9_007_199_254_740_992_u64 }), "/version"),
        (json!({ "version": "7" }), "/version"),
    ];
    for (body, pointer) in wrong_values().into_iter().chain(more) {
        let problem = set(&service, body).await.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    assert!(service.snapshot().is_empty());
}
