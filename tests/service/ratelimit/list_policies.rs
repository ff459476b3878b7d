use serde_json::json;

use super::{put, rules};
use crate::support::{Paging, Service, assert_rejects_invalid_paging, pages};

#[tokio::test]
async fn pages_have_each_policy_once_in_order() {
    let service = Service::new();
    assert_eq!(service.get("/ratelimit/policies").await.assert(200), json!({ "policies": [] }));
    for name in ["b", "a", "c:1", "c"] {
        put(&service, name, &rules(5)[0]).await.assert(201);
    }
    for limit in [1, 3, 4, 500] {
        let pages =
            pages(&service, &format!("/ratelimit/policies?limit={limit}"), "policies").await;
        let names: Vec<_> = pages.concat().iter().map(|policy| policy["policy"].clone()).collect();
        assert_eq!(names, ["a", "b", "c", "c:1"], "limit {limit}");
    }
    let listed = service.get("/ratelimit/policies?limit=1").await.assert(200);
    let read = service.get("/ratelimit/policies/a").await.assert(200);
    assert_eq!((&listed["policies"][0], &listed["next_cursor"]), (&read, &json!("a")));
}

#[tokio::test]
async fn rejects_invalid_paging() {
    let service = Service::new();
    assert_rejects_invalid_paging(&service, "/ratelimit/policies", Paging::Ids, &[]).await;
}
