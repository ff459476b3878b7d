use serde_json::{Value, json};

use super::{DAY, check, put, rules};
use crate::support::{Service, race};

async fn leased(service: &Service, cost: u64) -> String {
    check(service, "p", cost).await.assert(200)["lease_id"].as_str().unwrap().to_owned()
}

fn release(lease_id: &str) -> Value {
    json!({ "policy": "p", "key": "k", "lease_id": lease_id })
}

#[tokio::test]
async fn a_lease_is_given_back_once() {
    let service = Service::new();
    put(&service, "p", &rules(5)[4]).await.assert(201);
    let (first, second) = (leased(&service, 2).await, leased(&service, 3).await);
    check(&service, "p", 1).await.expect_problem(429, "rate_limited");
    let body = service.post("/ratelimit/release", release(&first)).await.assert(200);
    assert_eq!(
        (&body["released"], &body["remaining"], &body["lease_id"]),
        (&json!(true), &json!(2), &json!(first))
    );
    let again = service.post("/ratelimit/release", release(&first)).await;
    assert_eq!(again.expect_problem(404, "lease_not_found")["lease_id"], json!(first));
    // Another number of units names no lease.
    let forged = second.replace("x3", "x30");
    service
        .post("/ratelimit/release", release(&forged))
        .await
        .expect_problem(404, "lease_not_found");
    assert_eq!(check(&service, "p", 2).await.assert(200)["remaining"], 0);
}

#[tokio::test]
async fn a_lease_ends_by_itself() {
    let service = Service::new();
    put(&service, "p", &rules(5)[4]).await.assert(201);
    let first = leased(&service, 5).await;
    let refused = check(&service, "p", 1).await.expect_problem(429, "rate_limited");
    service.advance_ms(i64::try_from(refused["retry_after_ms"].as_u64().unwrap()).unwrap());
    service
        .post("/ratelimit/release", release(&first))
        .await
        .expect_problem(404, "lease_not_found");
    assert_eq!(check(&service, "p", 5).await.assert(200)["remaining"], 0);
    service.advance_ms(i64::try_from(2 * DAY).unwrap());
    assert_eq!(check(&service, "p", 1).await.assert(200)["remaining"], 4);
}

/// The record and the set of the leases last as long as the last lease, whichever of the others go before.
#[tokio::test]
async fn a_release_leaves_the_others_their_time() {
    let service = Service::new();
    let days = |days: u64| json!({ "algorithm": "concurrency", "limit": 5, "ttl_ms": days * DAY });
    let mut leases = Vec::new();
    for ttl in [1, 2, 9] {
        put(&service, "p", &days(ttl)).await;
        leases.push(leased(&service, 1).await);
    }
    let ends_in_days = || {
        let mut redis = service.raw();
        let keys = service.snapshot().into_iter().map(|(key, _)| key);
        // The policy itself has no end.
        let ends = keys.filter_map(|key| {
            let ttl: i64 = redis::cmd("PTTL").arg(key).query(&mut redis).unwrap();
            u64::try_from(ttl).ok()
        });
        ends.map(|ttl| ttl.div_ceil(DAY)).collect::<Vec<_>>()
    };
    for lease in [&leases[1], &leases[0]] {
        service.post("/ratelimit/release", release(lease)).await.assert(200);
        assert_eq!(ends_in_days(), [9, 9]);
    }
    service.advance_ms(i64::try_from(8 * DAY).unwrap());
    assert_eq!(check(&service, "p", 4).await.assert(200)["remaining"], 0);
    service.post("/ratelimit/release", release(&leases[2])).await.assert(200);
}

#[tokio::test]
async fn a_repeat_of_a_check_answers_the_same_lease() {
    let service = Service::new();
    put(&service, "p", &rules(5)[4]).await.assert(201);
    let body = json!({ "policy": "p", "key": "k" });
    let first = service.post("/ratelimit", body.clone()).key("a").await.assert(200);
    let answer = service.post("/ratelimit", body).key("a").await;
    assert!(answer.replayed());
    assert_eq!(answer.assert(200), first);
    assert_eq!(check(&service, "p", 1).await.assert(200)["remaining"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_leases_than_the_limit() {
    let service = Service::new();
    put(&service, "p", &rules(7)[4]).await.assert(201);
    let answers =
        race(200, |_| service.post("/ratelimit", json!({ "policy": "p", "key": "k" }))).await;
    assert_eq!((answers.count(200), answers.count(429)), (7, 193));
}

#[tokio::test]
async fn rejects_what_has_no_leases() {
    let service = Service::new();
    let post = |body: Value| service.post("/ratelimit/release", body);
    let refused = post(release("lease_x1")).await.expect_problem(404, "policy_not_found");
    assert_eq!(refused["policy"], "p");
    put(&service, "p", &rules(5)[2]).await.assert(201);
    let refused = post(release("lease_x1")).await.expect_problem(422, "algorithm_mismatch");
    assert_eq!(refused["algorithm"], "sliding_counter");
    post(json!({ "policy": "p", "key": "k", "lease_id": "{}" }))
        .await
        .expect_problem(422, "invalid_id");
}
