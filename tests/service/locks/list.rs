use serde_json::json;

use super::{acquire, release};
use crate::support::{Paging, Service, assert_rejects_invalid_paging, pages};

#[tokio::test]
async fn lists_what_an_owner_holds() {
    let service = Service::new();
    for (lock, owner) in [("b", "me"), ("a", "me"), ("c", "you"), ("d", "me \"7\"")] {
        acquire(&service, json!({ "lock": lock, "owner": owner })).await.assert(201);
    }
    for owner in ["me", "you"] {
        acquire(&service, json!({ "lock": "s", "owner": owner, "mode": "shared" }))
            .await
            .assert(201);
    }
    let names = |page: serde_json::Value| {
        let locks = page["locks"].as_array().unwrap().clone();
        locks.into_iter().map(|lock| lock["lock"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(service.get("/locks").await.assert(200)), ["a", "b", "c", "d", "s"]);
    let of_me = service.get("/locks?owner=me").await.assert(200);
    let shared = &of_me["locks"][2];
    assert_eq!(
        (&shared["holder_count"], &shared["holders"].as_array().unwrap().len()),
        (&json!(2), &1)
    );
    assert_eq!(names(of_me), ["a", "b", "s"]);
    assert_eq!(names(service.get("/locks?owner=me%20%227%22").await.assert(200)), ["d"]);
    assert_eq!(names(service.get("/locks?owner=nobody").await.assert(200)), [""; 0]);
}

#[tokio::test]
async fn a_lock_is_listed_while_it_is_held() {
    let service = Service::new();
    let lease = acquire(&service, json!({ "ttl_ms": 60_000 })).await.assert(201);
    let listed = async || {
        service.get("/locks?owner=me").await.assert(200)["locks"].as_array().unwrap().len()
    };
    // A lease that is renewed for longer than the index has its name.
    for number in 0..5 {
        let body =
            json!({ "lock": "l", "lease_id": lease["lease_id"], "ttl_ms": 2_592_000_000_u64 });
        service.post("/locks/renew", body).await.assert(200);
        service.advance_ms(2_591_000_000);
        // A lock that is entered removes the names of those whose time is over.
        let other = json!({ "lock": format!("other{number}"), "owner": "you", "ttl_ms": 1000 });
        acquire(&service, other).await.assert(201);
        assert_eq!(listed().await, 1);
    }
    release(&service, "l", &lease["lease_id"]).await.assert(200);
    assert_eq!(listed().await, 0);
    // The index forgets what is over as soon as another lock is entered.
    service.advance_ms(30 * 86_400_000);
    acquire(&service, json!({ "lock": "other" })).await.assert(201);
    let mut redis = service.raw();
    let count: u64 =
        redis::cmd("ZCARD").arg(service.key("index", "locks")).query(&mut redis).unwrap();
    assert_eq!((listed().await, count), (1, 1));
}

#[tokio::test]
async fn pages_follow_each_other() {
    let service = Service::new();
    for number in 0..7 {
        let owner = if number % 2 == 0 { "me" } else { "you" };
        acquire(&service, json!({ "lock": format!("l{number}"), "owner": owner }))
            .await
            .assert(201);
    }
    let all: Vec<_> = pages(&service, "/locks?owner=me&limit=3", "locks").await;
    assert_eq!(all.concat().len(), 4);
    assert_rejects_invalid_paging(&service, "/locks", Paging::Ids, &["owner=", "held=1"]).await;
}
