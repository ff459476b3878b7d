//! `GET /cache/stats`: each call counts once, in its space.

use serde_json::{Value, json};

use super::{MINUTE, fill, get, invalidate, lease, set};
use crate::support::Service;

#[tokio::test]
async fn counts_what_the_cache_has_done() {
    let service = Service::new();
    let stats = || async { service.get("/cache/stats").await.assert(200) };
    let before = stats().await;
    assert_eq!([&before["hit_rate"], &before["mean_fill_ms"]], [&Value::Null, &Value::Null]);
    let first = lease(&service).await;
    get(&service, json!({})).await.assert(200);
    fill(&service, &first, json!({ "stale_ms": MINUTE })).await.assert(200);
    get(&service, json!({})).await.assert(200);
    fill(&service, &first, json!({})).await.expect_problem(409, "cache_lease_lost");
    service.advance_ms(MINUTE);
    get(&service, json!({})).await.assert(200);
    invalidate(&service, json!({ "keys": ["k"] })).await.assert(200);
    get(&service, json!({ "lease_ms": 1000 })).await.assert(200);
    service.advance_ms(1000);
    get(&service, json!({})).await.assert(200);
    set(&service, json!({})).await.assert(200);
    let after = stats().await;
    let counts = ["hits", "stale", "misses", "leases", "leases_lost", "fills", "waits"];
    assert_eq!(counts.map(|name| after[name].as_u64().unwrap()), [1, 1, 4, 4, 2, 1, 0], "{after}");
    assert!((after["hit_rate"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9, "{after}");
    assert_eq!(after["space"], service.space);
    let other = service.in_new_space();
    assert_eq!(other.get("/cache/stats").await.assert(200)["misses"], 0);
}
