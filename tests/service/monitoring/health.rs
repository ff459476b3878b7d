use serde_json::json;

use super::Monitored;
use crate::support::{Server, wait_for};

#[tokio::test]
async fn tells_the_state_of_the_server() {
    let monitored = Monitored::new();
    monitored.service.open("alice", "1").await;
    let health = monitored.service.get("/health").await.assert(200);
    assert!(health["ping_ms"].as_f64().unwrap() > 0.0);
    let server = &health["server"];
    assert!(["redis", "valkey"].contains(&server["name"].as_str().unwrap()));
    assert!(server["version"].as_str().unwrap().split('.').count() >= 3, "{server}");
    assert_eq!(server["role"], "primary");
    assert!(server["uptime_s"].is_u64());
    assert!(health["memory"]["used_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!(
        (&health["memory"]["limit_bytes"], &health["memory"]["used_percent"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(health["memory"]["eviction_policy"], "noeviction");
    assert!(health["connected_clients"].as_u64().unwrap() >= 1);
    assert!(health["commands_processed"].as_u64().unwrap() >= 1);
    assert!(health["clock_difference_ms"].as_i64().unwrap().abs() < 1000);
    assert_eq!(health["replicas"], json!([]));
    // The servers of tests write no append-only file.
    assert_eq!(health["persistence"]["appendonly"], false);
    assert_eq!(health["status"], "warning");
    assert_eq!(health["warnings"].as_array().unwrap().len(), 1, "{health:#}");
}

#[tokio::test]
async fn warns_of_what_should_be_put_right() {
    let monitored = Monitored::on(Server::start(&["--appendonly", "yes"]));
    let health = monitored.service.get("/health").await.assert(200);
    assert_eq!((&health["status"], &health["warnings"]), (&json!("ok"), &json!([])), "{health:#}");
    monitored.server.command("CONFIG SET maxmemory 100mb");
    let health = monitored.service.get("/health").await.assert(200);
    assert_eq!(health["memory"]["limit_bytes"], 104_857_600);
    assert!((0.1..50.0).contains(&health["memory"]["used_percent"].as_f64().unwrap()));
    assert_eq!(health["status"], "ok");
    let used = health["memory"]["used_bytes"].as_u64().unwrap();
    monitored.server.command(&format!("CONFIG SET maxmemory {}", used * 100 / 96));
    monitored.server.command("CONFIG SET maxmemory-policy allkeys-lru");
    let health = monitored.service.get("/health").await.assert(200);
    let warnings = health["warnings"].to_string();
    assert!(warnings.contains("maxmemory-policy is allkeys-lru"), "{warnings}");
    assert!(warnings.contains("% of its memory"), "{warnings}");
    assert_eq!(health["status"], "warning");
}

#[tokio::test]
async fn names_the_replicas() {
    let monitored = Monitored::on(Server::start(&[]));
    let replica = Server::start(&[
        "--replicaof",
        &monitored.server.host_and_port(),
        "--repl-diskless-sync-delay",
        "0",
    ]);
    wait_for("the replica", || {
        let info: String =
            redis::cmd("INFO").arg("replication").query(&mut replica.connection()).ok()?;
        info.contains("master_link_status:up").then_some(())
    });
    let mut health = monitored.service.get("/health").await.assert(200);
    for _ in 0..1000 {
        if health["replicas"][0]["state"] == "online" {
            break;
        }
        tokio::task::yield_now().await;
        health = monitored.service.get("/health").await.assert(200);
    }
    let address = replica.url.trim_start_matches("redis://");
    assert_eq!(health["replicas"][0]["address"], address, "{health:#}");
    assert_eq!(health["replicas"][0]["state"], "online");
    assert!(health["replicas"][0]["behind_bytes"].is_u64());
    monitored.service.get("/health?x=1").await.expect_problem(400, "invalid_query");
}
