//! Tests of a server that does not answer: every wait has a bound, what was never sent is told as not
//! applied, and what waits meanwhile has a bound in bytes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Relay, Server, Service, race, wait_until};

/// Far above two store timeouts, and far below sixty.
const BOUND: Duration = Duration::from_secs(15);

fn watching(key: usize) -> Value {
    let key = format!("k-{key}");
    json!({ "watch": [key], "operations": [{ "type": "set", "key": key, "value": "1" }] })
}

/// Sixty idle connections in the pool are not tried one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_a_hanging_server_cost_one_timeout() {
    let server = Server::start(&[]);
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        (settings.transactions, settings.timeout) = (60, Duration::from_millis(500));
    });
    service.open("alice", "0").await;
    // Calls that a busy machine lets wait for too long lose their connections.
    wait_until("the pool to be full", async || {
        race(300, |key| service.post("/transactions", watching(key))).await;
        let clients = redis::cmd("CLIENT").arg("LIST").query(&mut server.connection());
        let clients: String = clients.unwrap();
        clients.lines().count() > 50
    })
    .await;

    let hanging = server.hang();
    let calls = async {
        tokio::join!(
            race(20, |_| service.deposit("alice", "1")),
            race(100, |key| service.post("/transactions", watching(key))),
            race(20, |_| service.get("/readyz")),
            race(20, |_| service.get("/accounts/alice/balance")),
        )
    };
    let (deposits, transactions, ready, reads) = timeout(BOUND, calls).await.expect("answers");
    assert_eq!(deposits.count(503) + deposits.count(504), 20);
    assert_eq!(transactions.count(503) + transactions.count(504), 100);
    assert_eq!((ready.count(503), reads.count(503)), (20, 20));
    drop(hanging);
    let after = timeout(BOUND, async {
        while service.deposit("alice", "1").await.status.as_u16() != 201 {}
        service.post("/transactions", watching(0)).await.assert(200);
        service.get("/readyz").await.assert(200);
    });
    after.await.expect("the service serves again");
}

/// The connection has died and the service knows it, so a call was not sent and is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn calls_on_a_connection_that_has_died_are_sent_on_another() {
    let server = Server::start(&[]);
    let relay = Relay::to(&server).await;
    let service = Service::with(|settings| settings.url.clone_from(&relay.url));
    service.open("alice", "0").await;
    for round in 1..=5 {
        relay.cut().await;
        // Without a key, so a call that may have been sent would be 504.
        let deposits = race(820, |_| service.deposit("alice", "1")).await;
        assert_eq!(deposits.count(201), 820, "{:?}", deposits.first());
        assert_eq!(service.balance("alice").await, format!("{}.00", 820 * round));
    }
}

/// A script whose end was never written cannot have run.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_written_is_told_as_not_applied() {
    let server = Server::start(&[]);
    let mut service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.timeout = Duration::from_millis(700);
        settings.batch_workers = 1;
    });
    let direct = Service::on_own_redis(&server);
    service.space.clone_from(&direct.space);
    // The connection is there before the server hangs.
    service
        .post("/batch", json!({ "operations": [{ "type": "get", "key": "x" }] }))
        .await
        .assert(200);

    let hanging = server.hang();
    // More than the buffers of the sockets take: the last scripts are not sent.
    let value = "x".repeat(200_000);
    let calls = race(120, |n| {
        let key = format!("big-{n}");
        service.post(
            "/transactions",
            json!({
                "operations": [{ "type": "set", "key": key, "value": value }]
            }),
        )
    });
    let answers = timeout(BOUND, calls).await.expect("answers");
    drop(hanging);
    let (unknown, refused) = (answers.count(504), answers.count(503));
    assert_eq!(unknown + refused, 120);
    assert!(refused > 0, "some are told as not applied");
    for answer in answers.iter().filter(|answer| answer.status.as_u16() == 503) {
        assert_eq!(answer.body["outcome"], "not_applied", "{:#}", answer.body);
    }
    for answer in answers.iter().filter(|answer| answer.status.as_u16() == 504) {
        assert_eq!(answer.body["outcome"], "unknown", "{:#}", answer.body);
    }
    // The server goes through what it has received, and then answers this.
    let written = timeout(BOUND, async {
        loop {
            let answer = direct.get("/readyz").await;
            if answer.status.as_u16() == 200 {
                break direct.snapshot().len();
            }
        }
    });
    let written = written.await.expect("the server serves again");
    assert!(written <= unknown, "{written} were written, {unknown} of unknown outcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_bounded_in_bytes() {
    let server = Server::start(&[]);
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.queue_bytes = 1_000_000;
        settings.timeout = Duration::from_secs(60);
    });
    service.open("alice", "0").await;
    let hanging = server.hang();
    let value = "x".repeat(99_000);
    let mut calls = race(50, |n| {
        let key = format!("big-{n}");
        service.post(
            "/transactions",
            json!({
                "operations": [{ "type": "set", "key": key, "value": value }]
            }),
        )
    });
    // Ten of a little more than 99,000 bytes have room; the others are refused while those wait.
    for _ in 0..40 {
        let refused = calls.next().await.expect_problem(503, "overloaded");
        assert_eq!(refused["outcome"], "not_applied");
    }
    drop(hanging);
    for _ in 0..10 {
        calls.next().await.assert(200);
    }
    // What they took is given back, and a call larger than the whole bound is taken when it is alone.
    let one = json!({ "operations": [{ "type": "set", "key": "k", "value": value }] });
    for _ in 0..20 {
        service.post("/transactions", one.clone()).await.assert(200);
    }
    let small = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.queue_bytes = 1;
    });
    small.post("/transactions", one).await.assert(200);
}
