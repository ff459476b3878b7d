use serde_json::{Value, json};

use super::Monitored;
use crate::support::{Relay, Service};

async fn group(service: &Service, name: &str) -> Value {
    let answer = service.get("/monitoring/connections").await.assert(200);
    assert!(answer["uptime_ms"].is_u64() && answer["process"].as_str().unwrap().len() == 32);
    let groups = answer["groups"].as_array().unwrap().clone();
    groups.into_iter().find(|group| group["name"] == name).unwrap()
}

/// A service with one batch worker, whose address can be cut off.
async fn cuttable(monitored: &Monitored) -> (Relay, Service) {
    let relay = Relay::to(&monitored.server).await;
    let service = Service::with(|settings| {
        settings.url = relay.url.clone();
        settings.batch_workers = 1;
        // A node of a cluster tells its own address.
        let announced = monitored.server.url.trim_start_matches("redis://");
        let reachable = relay.url.trim_start_matches("redis://");
        settings.access.node_map = vec![format!("{announced}={reachable}").parse().unwrap()];
    });
    (relay, service)
}

#[tokio::test]
async fn counts_what_is_sent_and_made_anew() {
    let monitored = Monitored::new();
    let (relay, service) = cuttable(&monitored).await;
    let before = group(&service, "worker-0").await;
    assert_eq!([&before["created"], &before["in_use"], &before["commands"]], [0, 0, 0]);
    assert_eq!(before["mean_ms"], json!(null));
    service.open("alice", "1").await;
    let after = group(&service, "worker-0").await;
    assert_eq!(
        [&after["created"], &after["in_use"], &after["reconnects"], &after["waiting"]],
        [1, 1, 0, 0]
    );
    assert_eq!(after["waiting_limit"], 8192);
    // The script is sent once by its hash, which the server does not know, and once with its source.
    assert_eq!([&after["commands"], &after["errors"]], [2, 1]);
    assert!(
        after["mean_ms"].as_f64().unwrap() > 0.0
            && after["commands_per_second"].as_f64().unwrap() > 0.0
    );

    relay.cut().await;
    service.get("/accounts/alice").await;
    service.get("/accounts/alice").await.assert(200);
    let after = group(&service, "worker-0").await;
    assert_eq!([&after["created"], &after["reconnects"], &after["in_use"]], [2, 1, 1]);
}

#[tokio::test]
async fn pools_have_figures_of_their_own() {
    let monitored = Monitored::new();
    let (_relay, service) = cuttable(&monitored).await;
    let body =
        json!({ "watch": ["k"], "operations": [{ "type": "set", "key": "k", "value": "1" }] });
    for _ in 0..3 {
        service.post("/transactions", body.clone()).await.assert(200);
    }
    let transactions = group(&service, "transactions").await;
    assert_eq!(
        [&transactions["created"], &transactions["idle"], &transactions["in_use"]],
        [1, 1, 0]
    );
    assert!(transactions["commands"].as_u64().unwrap() >= 9, "{transactions}");
    assert_eq!(transactions["waiting_limit"], json!(null));
    service.get("/readyz").await.assert(200);
    let pool = group(&service, "pool").await;
    assert_eq!([&pool["created"], &pool["idle"]], [1, 1]);
}

#[tokio::test]
async fn answers_without_redis() {
    let away = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{}", crate::support::free_port());
    });
    away.transfer("a", "b", "1").await.expect_problem(503, "store_unavailable");
    let worker = group(&away, "worker-0").await;
    assert_eq!([&worker["created"], &worker["in_use"]], [0, 0]);
    let refused = away.get("/monitoring/connections?x=1").await;
    refused.expect_problem(400, "invalid_query");
}
