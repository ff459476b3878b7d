//! Tests of every state in which Redis does not serve: each has its code, and nothing has happened.

use std::time::Duration;

use serde_json::json;

use crate::support::{Server, Service, race, unique, wait_for};

fn service(server: &Server) -> Service {
    Service::with(|settings| settings.url.clone_from(&server.url))
}

/// A call of `POST /transactions` that watches a key and so uses a connection of its own.
fn watching() -> serde_json::Value {
    json!({ "watch": ["n"], "operations": [{ "type": "incr", "key": "n" }] })
}

#[tokio::test]
async fn a_replica_is_answered_store_readonly() {
    let server =
        Server::start(&["--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "yes"]);
    let service = service(&server);
    let body = json!({ "account_id": "alice" });
    let refused = service.post("/accounts", body).await.expect_problem(503, "store_readonly");
    assert_eq!((&refused["outcome"], &refused["retryable"]), (&json!("not_applied"), &json!(true)));
    let watching = watching();
    let refused =
        service.post("/transactions", watching).await.expect_problem(503, "store_readonly");
    assert_eq!(refused["outcome"], "not_applied");
    // Reads too, because what a replica says may have been overtaken long ago.
    service.get("/accounts/alice").await.expect_problem(503, "store_readonly");
}

/// A call that was never sent has no unknown outcome: an idle connection is checked before it is used.
#[tokio::test]
async fn an_idle_connection_is_checked_before_it_is_used() {
    let server = Server::start(&[]);
    let service = service(&server);
    service.open("alice", "1").await;
    let mut connection = server.connection();
    wait_for("the connection to be idle for two seconds", || {
        let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut connection).unwrap();
        let idle: Vec<u64> = list
            .lines()
            .filter_map(|line| line.split("idle=").nth(1)?.split(' ').next()?.parse().ok())
            .collect();
        idle.iter().any(|seconds| *seconds >= 2).then_some(())
    });
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut connection).unwrap();
    service.deposit("alice", "1").await.assert(201);
}

#[tokio::test]
async fn a_full_server_is_answered_store_out_of_memory() {
    let server = Server::start(&[]);
    let service = service(&server);
    service.open("alice", "1").await;
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).exec(&mut server.connection()).unwrap();
    service.deposit("alice", "1").await.expect_problem(503, "store_out_of_memory");
    service.post("/transactions", watching()).await.expect_problem(503, "store_out_of_memory");
    assert_eq!(service.balance("alice").await, "1.00");
}

/// Keeps the server busy with a script that runs until SCRIPT KILL.
fn block(server: &Server) -> std::thread::JoinHandle<()> {
    let mut connection = server.connection();
    let busy = std::thread::spawn(move || {
        let _ = redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut connection);
    });
    let mut other = server.connection();
    wait_for("the server to be busy", || {
        redis::cmd("PING")
            .exec(&mut other)
            .is_err_and(|error| error.code() == Some("BUSY"))
            .then_some(())
    });
    busy
}

fn unblock(server: &Server, busy: std::thread::JoinHandle<()>) {
    // A handshake would be refused too, so this connection sends nothing but SCRIPT KILL.
    use std::io::{Read, Write};
    let address = server.url.trim_start_matches("redis://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"SCRIPT KILL\r\n").unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    busy.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_answered_store_busy() {
    let server = Server::start(&["--busy-reply-threshold", "10"]);
    let service = service(&server);
    service.open("alice", "1").await;
    let busy = block(&server);
    let body = json!({ "account_id": "alice", "amount": "1" });
    let answers = [
        service.post("/accounts/deposit", body.clone()).await,
        service.post("/accounts/deposit", body).await,
    ];
    let transaction = service.post("/transactions", watching()).await;
    unblock(&server, busy);
    for answer in answers {
        answer.expect_problem(503, "store_busy");
    }
    assert_eq!(
        (transaction.status.as_u16(), &transaction.body["outcome"]),
        (503, &json!("not_applied"))
    );
    assert_eq!(service.balance("alice").await, "1.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_above_the_queue_limit_are_answered_overloaded() {
    // The threshold is high: the server does not answer at all, and calls queue up.
    let server = Server::start(&["--busy-reply-threshold", "100"]);
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        (settings.batch_workers, settings.queue) = (1, 4);
        settings.timeout = Duration::from_secs(60);
    });
    service.open("alice", "0").await;
    let mut connection = server.connection();
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("busy-reply-threshold")
        .arg(0)
        .exec(&mut connection)
        .unwrap();
    let mut probe = server.connection();
    probe.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let busy = std::thread::spawn(move || {
        let _ = redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut connection);
    });
    // The script runs once other commands are not answered.
    wait_for("the script", || redis::cmd("PING").exec(&mut probe).is_err().then_some(()));
    let mut calls = race(600, |_| service.deposit("alice", "1"));
    // Two batches in flight and one that fills have 128 calls each, and the queue has four: the others
    // of the 600 are refused at once.
    let mut refused = 0;
    while refused < 600 - 3 * 128 - 4 {
        calls.next().await.expect_problem(503, "overloaded");
        refused += 1;
    }
    // Without a threshold SCRIPT KILL is not accepted either; only the end of the server ends the
    // script.
    drop(server);
    busy.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loading_server_is_answered_store_loading() {
    let name = unique("lockstep-loading-");
    let first = Server::start_in(&name, &[]);
    let mut connection = first.connection();
    for key in 0..600 {
        redis::cmd("SET").arg(key).arg("x".repeat(4000)).exec(&mut connection).unwrap();
    }
    redis::cmd("SAVE").exec(&mut connection).unwrap();
    let dump = std::fs::read(format!("{}/dump.rdb", first.folder)).unwrap();
    drop(first);
    let folder = std::env::temp_dir().join(&name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("dump.rdb"), dump).unwrap();
    // Loading takes fifty milliseconds a key, and the server answers clients after every few.
    let slow = ["--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024"];
    let server = Server::start_in(&name, &slow);
    let service = service(&server);
    let body = json!({ "account_id": "alice" });
    service.post("/accounts", body).await.expect_problem(503, "store_loading");
    service.get("/readyz").await.expect_problem(503, "store_loading");
}
