//! `POST /cache/invalidate`: by keys and by tags, with and without what was there.

use redis::Commands;
use serde_json::json;

use super::{MINUTE, get, invalidate, lease, set};
use crate::support::{HOUR, Service};

#[tokio::test]
async fn ends_the_values_of_keys() {
    let service = Service::new();
    for key in ["a", "b", "c"] {
        set(&service, json!({ "key": key })).await.assert(200);
    }
    get(&service, json!({ "key": "d" })).await.assert(200);
    let body = json!({ "keys": ["a", "b", "d", "nothing"] });
    assert_eq!(invalidate(&service, body.clone()).await.assert(200), json!({ "invalidated": 3 }));
    assert_eq!(invalidate(&service, body).await.assert(200), json!({ "invalidated": 0 }));
    service.get("/cache/a").await.expect_problem(404, "cache_miss");
    service.get("/cache/c").await.assert(200);
}

#[tokio::test]
async fn ends_everything_that_has_a_tag() {
    let service = Service::new();
    let tags: Vec<_> = (0..16).map(|i| format!("t{i}")).collect();
    for (i, tag) in tags.iter().enumerate() {
        let body = json!({ "key": i.to_string(), "tags": [tag, "all"] });
        set(&service, body).await.assert(200);
    }
    set(&service, json!({ "key": "many", "tags": tags })).await.assert(200);
    set(&service, json!({ "key": "none" })).await.assert(200);
    invalidate(&service, json!({ "tags": ["t3", "t5", "unknown"] })).await.assert(200);
    for i in 0..16 {
        let status = if i == 3 || i == 5 { 404 } else { 200 };
        service.get(&format!("/cache/{i}")).await.assert(status);
    }
    service.get("/cache/many").await.expect_problem(404, "cache_miss");
    // What is stored afterwards is not concerned.
    set(&service, json!({ "key": "3", "tags": ["t3"] })).await.assert(200);
    service.get("/cache/3").await.assert(200);
    invalidate(&service, json!({ "tags": ["all"] })).await.assert(200);
    for i in 0..16 {
        service.get(&format!("/cache/{i}")).await.assert(if i == 3 { 200 } else { 404 });
    }
    service.get("/cache/none").await.assert(200);
}

#[tokio::test]
async fn an_entry_whose_tag_was_invalidated_is_filled_by_one() {
    let service = Service::new();
    set(&service, json!({ "tags": ["t"], "stale_ms": MINUTE })).await.assert(200);
    invalidate(&service, json!({ "tags": ["t"] })).await.assert(200);
    let answer = get(&service, json!({})).await.assert(200);
    assert_eq!([answer.get("stale_value"), answer.get("value")], [None, None]);
    assert!(answer["lease_token"].is_string());
    assert_eq!(get(&service, json!({})).await.assert(200)["filling"], true);
}

#[tokio::test]
async fn leaves_what_is_stale_for_its_time() {
    let service = Service::new();
    for body in
        [json!({ "keys": ["k"], "keep_stale": true }), json!({ "tags": ["t"], "keep_stale": true })]
    {
        set(&service, json!({ "tags": ["t"], "stale_ms": 10_000 })).await.assert(200);
        invalidate(&service, body.clone()).await.assert(200);
        let answer = get(&service, json!({})).await.assert(200);
        assert_eq!(
            [&answer["hit"], &answer["stale_value"]],
            [&json!(false), &json!("v")],
            "{body}"
        );
        service.advance_ms(10_000);
        let answer = get(&service, json!({})).await.assert(200);
        assert_eq!(answer.get("stale_value"), None, "{body}: {answer}");
    }
    // Without a time there is nothing to be left.
    set(&service, json!({})).await.assert(200);
    invalidate(&service, json!({ "keys": ["k"], "keep_stale": true })).await.assert(200);
    assert_eq!(get(&service, json!({})).await.assert(200).get("stale_value"), None);
}

/// An entry remembers the version that its writer gave after the value has gone, but not the value.
#[tokio::test]
async fn a_value_that_nobody_can_get_takes_no_memory() {
    let service = Service::new();
    let body = json!({ "value": "x".repeat(1000), "version": 3 });
    set(&service, body).await.assert(200);
    invalidate(&service, json!({ "keys": ["k"], "keep_stale": true })).await.assert(200);
    let length = || -> u64 {
        redis::cmd("STRLEN").arg(service.key("cache", "k")).query(&mut service.raw()).unwrap()
    };
    assert!((1..100).contains(&length()), "{}", length());
    set(&service, json!({ "version": 2 })).await.expect_problem(409, "version_stale");

    // The entries of a tag are not looked for: the value goes when somebody gets the lease to fill it.
    let tagged = json!({ "value": "x".repeat(1000), "version": 4, "tags": ["t"] });
    set(&service, tagged).await.assert(200);
    invalidate(&service, json!({ "tags": ["t"] })).await.assert(200);
    assert!(length() > 1000, "{}", length());
    lease(&service).await;
    assert!((1..200).contains(&length()), "{}", length());
}

#[tokio::test]
async fn what_was_kept_can_still_be_dropped() {
    let service = Service::new();
    for keeping in
        [json!({ "keys": ["k"], "keep_stale": true }), json!({ "tags": ["t"], "keep_stale": true })]
    {
        for dropping in [json!({ "keys": ["k"] }), json!({ "tags": ["t"] })] {
            set(&service, json!({ "tags": ["t"], "stale_ms": MINUTE })).await.assert(200);
            for body in [&keeping, &dropping, &keeping] {
                invalidate(&service, body.clone()).await.assert(200);
            }
            let answer = get(&service, json!({})).await.assert(200);
            assert_eq!(answer.get("stale_value"), None, "{keeping} {dropping}");
        }
    }
}

/// The set of tags is lost, as a server does that evicts keys: nobody can say what is still valid.
#[tokio::test]
async fn entries_with_tags_are_void_without_the_set() {
    let service = Service::new();
    set(&service, json!({ "key": "tagged", "tags": ["t"] })).await.assert(200);
    set(&service, json!({ "key": "plain" })).await.assert(200);
    let token = lease(&service).await;
    let lose = || {
        let key = service.key("tags", "cache");
        redis::cmd("DEL").arg(key).query::<u64>(&mut service.raw()).unwrap()
    };
    assert_eq!(lose(), 1);
    service.get("/cache/tagged").await.expect_problem(404, "cache_miss");
    service.get("/cache/plain").await.assert(200);
    let body = json!({ "tags": ["t"] });
    super::fill(&service, &token, body).await.expect_problem(409, "cache_lease_lost");
    // A new set knows nothing of what the old one had.
    set(&service, json!({ "key": "other", "tags": ["u"] })).await.assert(200);
    service.get("/cache/tagged").await.expect_problem(404, "cache_miss");
    service.get("/cache/other").await.assert(200);
}

/// So many invalidations are remembered. What is older than the oldest of them may have missed one, so it is void.
#[tokio::test]
async fn the_oldest_invalidations_are_forgotten() {
    const MOST: u64 = 100_000;
    let service = Service::new();
    invalidate(&service, json!({ "tags": ["first"] })).await.assert(200);
    set(&service, json!({ "key": "old", "tags": ["a"] })).await.assert(200);
    let (set_of_tags, mut redis) = (service.key("tags", "cache"), service.raw());
    let newest: f64 = redis.zscore(&set_of_tags, "newest").unwrap();
    // As many others have come since.
    let more: Vec<_> = (1..=MOST).map(|i| (newest + i as f64, format!("d:{i}"))).collect();
    redis.zadd_multiple::<_, _, _, ()>(&set_of_tags, &more).unwrap();
    let () = redis.zadd(&set_of_tags, "newest", newest + MOST as f64).unwrap();
    set(&service, json!({ "key": "young", "tags": ["a"] })).await.assert(200);
    service.get("/cache/old").await.assert(200);
    for tag in 0..5 {
        invalidate(&service, json!({ "tags": [format!("t{tag}")] })).await.assert(200);
    }
    assert_eq!(redis.zcard::<_, u64>(&set_of_tags).unwrap(), MOST);
    service.get("/cache/old").await.expect_problem(404, "cache_miss");
    service.get("/cache/young").await.assert(200);
    // One that was invalidated before can be so again.
    invalidate(&service, json!({ "tags": ["t0", "a"] })).await.assert(200);
    service.get("/cache/young").await.expect_problem(404, "cache_miss");
    assert!(redis.zcard::<_, u64>(&set_of_tags).unwrap() <= MOST);
}

#[tokio::test]
async fn every_key_has_an_end() {
    let service = Service::new();
    set(&service, json!({ "key": "a", "tags": ["t"], "version": 3, "ttl_ms": HOUR }))
        .await
        .assert(200);
    set(&service, json!({ "key": "b", "value": "x".repeat(100_000), "stale_ms": HOUR }))
        .await
        .assert(200);
    get(&service, json!({ "key": "c" })).await.assert(200);
    invalidate(&service, json!({ "keys": ["a"], "tags": ["t", "u"] })).await.assert(200);
    let mut redis = service.raw();
    let keys: Vec<String> = service.snapshot().into_iter().map(|(key, _)| key).collect();
    assert!(keys.len() >= 4, "{keys:?}");
    for key in keys {
        let ttl: i64 = redis::cmd("PTTL").arg(&key).query(&mut redis).unwrap();
        assert!(ttl > 0, "{key} has no end");
    }
}

#[tokio::test]
async fn rejects_what_is_no_request() {
    let service = Service::new();
    let names: Vec<_> = (0..129).map(|i| format!("n{i}")).collect();
    for (body, pointer) in [
        (json!({}), "/keys"),
        (json!({ "keys": [], "tags": [] }), "/keys"),
        (json!({ "keys": names }), "/keys"),
        (json!({ "tags": names }), "/tags"),
        (json!({ "keys": ["a", ""] }), "/keys/1"),
        (json!({ "tags": ["a", "a"] }), "/tags/1"),
        (json!({ "keys": ["a"], "keep_stale": "yes" }), "/keep_stale"),
    ] {
        let problem = invalidate(&service, body).await.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let most = json!({ "keys": names[..128], "tags": names[..128] });
    assert_eq!(invalidate(&service, most).await.assert(200)["invalidated"], 0);
}
