use serde_json::json;

use super::{MAX_SAFE_INTEGER, set, set_with_expiry};
use crate::support::{HOUR, Service};

#[tokio::test]
async fn returns_the_value_and_the_expiry() {
    let service = Service::new();
    let none = json!({ "counter": "c", "value": 0, "exists": false, "expires_at": null });
    assert_eq!(service.get("/counters/c").await.assert(200), none);
    assert!(service.snapshot().is_empty(), "to look is not to touch");
    for value in [0, -1, MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER] {
        set(&service, "c", value).await;
        let answer = service.get("/counters/c").await.assert(200);
        let expected =
            json!({ "counter": "c", "value": value, "exists": true, "expires_at": null });
        assert_eq!(answer, expected);
    }
    set_with_expiry(&service, "d", 5).await;
    let answer = service.get("/counters/d").await.assert(200);
    assert!(answer["expires_at"].as_str().unwrap().ends_with('Z'), "{answer:#}");
    service.advance_ms(HOUR);
    let answer = service.get("/counters/d").await.assert(200);
    assert_eq!(answer, json!({ "counter": "d", "value": 0, "exists": false, "expires_at": null }));
}

#[tokio::test]
async fn refuses_invalid_names() {
    let service = Service::new();
    for id in ["%7Bc%7D", "a%20b", "-c", "%C3%A9"] {
        service.get(&format!("/counters/{id}")).await.expect_problem(422, "invalid_id");
    }
    service.get("/counters/c?limit=1").await.expect_problem(400, "invalid_query");
}
