//! Tests of `/readyz`: it is 503 whenever writes are refused, and says which check fails and why.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Process, Server, Service, free_port, redis_url, wait_for};

fn service(server: &Server) -> Service {
    Service::with(|settings| settings.url.clone_from(&server.url))
}

/// Panics unless the service is not ready for this reason, and says so without changing anything.
async fn assert_not_ready(service: &Service, code: &str, check: &str, reason: &str) {
    let problem = service.get("/readyz").await.expect_problem(503, code);
    assert_eq!(problem["check"], check, "{problem:#}");
    let told = problem["reason"].as_str().unwrap();
    assert!(told.contains(reason), "{told}");
    assert_eq!(problem["outcome"], "not_applied");
}

#[tokio::test]
async fn a_server_that_takes_writes_is_ready() {
    let service = Service::new();
    // On a cluster this call has found a master. Before the first call it may not know any yet.
    service.open("alice", "0").await;
    let before = service.snapshot();
    assert_eq!(service.get("/readyz").await.assert(200)["status"], "ok");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn every_refusal_of_writes_is_told() {
    let server = Server::start(&[]);
    let service = service(&server);
    for (broken, mended, code, check, reason) in [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "store_readonly", "connection", "replica"),
        (
            "CONFIG SET maxmemory 1",
            "CONFIG SET maxmemory 0",
            "store_out_of_memory",
            "writes",
            "OOM",
        ),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            "store_unavailable",
            "writes",
            "NOREPLICAS",
        ),
        (
            "ACL SETUSER default -rpush -zadd",
            "ACL SETUSER default +@all",
            "store_unavailable",
            "rights",
            "lacks the right to run RPUSH, ZADD",
        ),
        (
            "ACL SETUSER default -eval",
            "ACL SETUSER default +@all",
            "store_unavailable",
            "rights",
            "NOPERM",
        ),
    ] {
        service.get("/readyz").await.assert(200);
        server.command(broken);
        if broken.starts_with("REPLICAOF") {
            // A connection that was looked at within the last second tells by the trial of a write.
            let problem = service.get("/readyz").await.expect_problem(503, code);
            assert!(["connection", "writes"].contains(&problem["check"].as_str().unwrap()));
            assert!(problem["reason"].as_str().unwrap().contains("replica"), "{problem:#}");
        } else {
            assert_not_ready(&service, code, check, reason).await;
        }
        server.command(mended);
    }
    service.get("/readyz").await.assert(200);
}

#[tokio::test]
async fn a_server_that_cannot_save_is_not_ready() {
    let server = Server::start(&["--save", "3600", "1"]);
    let service = service(&server);
    service.open("alice", "1").await;
    std::fs::remove_dir_all(&server.folder).unwrap();
    server.command("BGSAVE");
    let mut connection = server.connection();
    wait_for("a snapshot that failed", || {
        let info: String = redis::cmd("INFO").arg("persistence").query(&mut connection).ok()?;
        info.contains("rdb_last_bgsave_status:err").then_some(())
    });
    assert_not_ready(&service, "store_readonly", "writes", "MISCONF").await;
    service.deposit("alice", "1").await.expect_problem(503, "store_readonly");
    // Such a server is no replica, and what it says is true.
    assert_eq!(service.balance("alice").await, "1.00");
}

#[tokio::test]
async fn a_cluster_that_is_down_is_not_ready() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    let service = service(&server);
    assert_not_ready(&service, "store_unavailable", "writes", "CLUSTERDOWN").await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let service = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{}", free_port());
    });
    assert_not_ready(&service, "store_unavailable", "connection", "refused").await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_password_is_told() {
    let server = Server::start(&["--requirepass", "secret"]);
    let service = service(&server);
    assert_not_ready(&service, "store_unavailable", "connection", "NOAUTH").await;
    let refused = service.get("/accounts/alice").await;
    refused.expect_problem(503, "store_unavailable");
}

#[tokio::test]
async fn the_healthcheck_says_why_a_service_is_not_ready() {
    let server = Server::start(&[]);
    let process = Process::start(&["--redis-url", &server.url]);
    server.command("CONFIG SET maxmemory 1");
    let mut check = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    let output = check.args(["healthcheck", "--listen", &process.address]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("is not ready: the store is out of memory: OOM"), "{said}");
    let ready: Value = Process::start_logging_to(Stdio::null(), &["--redis-url", redis_url()])
        .get("main", "/readyz")
        .await
        .unwrap()
        .assert(200);
    assert_eq!(ready["status"], "ok");
}
