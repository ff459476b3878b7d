use serde_json::json;

use crate::support::Service;

#[tokio::test]
async fn returns_the_holder() {
    let service = Service::new();
    let free = json!({
        "lock": "l", "held": false, "mode": null, "permits": null, "holders": [], "holder_count": 0,
        "queue": [], "queue_length": 0, "last_fencing_token": null
    });
    assert_eq!(service.get("/locks/l").await.assert(200), free);
    let lease = service.acquire("l", "me", 86_400_000).await.assert(201);
    let seen = service.get("/locks/l").await.assert(200);
    assert_eq!((&seen["held"], &seen["holders"][0]["owner"]), (&json!(true), &json!("me")));
    assert!(!seen.to_string().contains(lease["lease_id"].as_str().unwrap()));
    service.advance_ms(86_400_000);
    let over = service.get("/locks/l").await.assert(200);
    assert_eq!((&over["held"], &over["holders"]), (&json!(false), &json!([])));
    assert_eq!(over["last_fencing_token"], lease["fencing_token"]);
}
