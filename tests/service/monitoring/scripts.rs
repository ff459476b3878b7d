use serde_json::{Value, json};

use super::Monitored;
use crate::support::Service;

async fn script(service: &Service, name: &str) -> Value {
    let answer = service.get("/monitoring/scripts").await.assert(200);
    let scripts = answer["scripts"].as_array().unwrap().clone();
    let names: Vec<_> =
        scripts.iter().map(|script| script["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.is_sorted() && names.len() > 60, "{names:?}");
    scripts.into_iter().find(|script| script["name"] == name).unwrap()
}

/// Scripts are counted by the process, and tests of one process share them, so the figures only grow.
#[tokio::test]
async fn counts_runs_and_tells_what_the_server_knows() {
    let monitored = Monitored::new();
    let service = monitored.service.clone();
    assert_eq!(script(&service, "counters/reset").await["loaded"], false);
    let before = script(&service, "counters/reset").await;
    let reset = || service.post("/counters/reset", json!({ "counter": "seats" }));
    for _ in 0..5 {
        reset().await.assert(200);
    }
    let after = script(&service, "counters/reset").await;
    let grown = |name: &str| after[name].as_u64().unwrap() - before[name].as_u64().unwrap();
    assert!(grown("calls") >= 5 && grown("reloads") >= 1, "{after}");
    assert_eq!(after["loaded"], true);
    let order = ["p50_ms", "p95_ms", "p99_ms"].map(|name| after[name].as_f64().unwrap());
    assert!(order.is_sorted() && order[0] > 0.0 && after["mean_ms"].is_f64(), "{after}");

    monitored.server.command("SCRIPT FLUSH SYNC");
    assert_eq!(script(&service, "counters/reset").await["loaded"], false);
    reset().await.assert(200);
    assert_eq!(script(&service, "counters/reset").await["loaded"], true);
}

#[tokio::test]
async fn a_user_that_may_not_ask_gets_the_rest() {
    let monitored = Monitored::new();
    monitored.server.command("ACL SETUSER default -script");
    assert_eq!(script(&monitored.service, "accounts/get").await["loaded"], json!(null));
    let refused = monitored.service.get("/monitoring/scripts?x=1").await;
    refused.expect_problem(400, "invalid_query");
}

#[tokio::test]
async fn without_redis_it_is_a_problem() {
    let away = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{}", crate::support::free_port());
    });
    away.get("/monitoring/scripts").await.expect_problem(503, "store_unavailable");
    away.get("/health").await.expect_problem(503, "store_unavailable");
    away.get("/monitoring/transactions").await.expect_problem(503, "store_unavailable");
    away.get("/monitoring/failures").await.expect_problem(503, "store_unavailable");
}
