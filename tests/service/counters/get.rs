use serde_json::json;

use super::{MAX_SAFE_INTEGER, ending, set};
use crate::support::{HOUR, Service};

#[tokio::test]
async fn tells_how_far_it_has_come() {
    let service = Service::new();
    let none = json!({ "counter": "c", "value": 0, "exists": false, "expires_at": null });
    assert_eq!(service.get("/counters/c").await.assert(200), none);
    assert!(service.snapshot().is_empty(), "to look is not to touch");
    for value in [0, -1, MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER] {
        set(&service, "c", value).await;
        let told = service.get("/counters/c").await.assert(200);
        let expected =
            json!({ "counter": "c", "value": value, "exists": true, "expires_at": null });
        assert_eq!(told, expected);
    }
    ending(&service, "d", 5).await;
    let told = service.get("/counters/d").await.assert(200);
    assert!(told["expires_at"].as_str().unwrap().ends_with('Z'), "{told:#}");
    service.advance_ms(HOUR);
    let told = service.get("/counters/d").await.assert(200);
    assert_eq!(told, json!({ "counter": "d", "value": 0, "exists": false, "expires_at": null }));
}

#[tokio::test]
async fn refuses_what_is_no_counter() {
    let service = Service::new();
    for id in ["%7Bc%7D", "a%20b", "-c", "%C3%A9"] {
        service.get(&format!("/counters/{id}")).await.expect_problem(422, "invalid_id");
    }
    service.get("/counters/c?limit=1").await.expect_problem(400, "invalid_query");
}
