//! Tests of an address behind which the server becomes another one: the service leaves the old server
//! and finds the new one, and nothing is lost, done twice or read from a replica.

use std::time::Duration;

use redis::Commands;
use serde_json::json;

use crate::support::{Relay, Server, Service, race, wait_for, wait_until};

/// The service on an address that leads to a primary, beside its replica.
struct Pair {
    primary: Server,
    replica: Server,
    relay: Relay,
    service: Service,
}

impl Pair {
    async fn start() -> Pair {
        let (primary, replica) = (Server::start(&[]), Server::start(&[]));
        replica.command(&format!("REPLICAOF {}", primary.host_and_port()));
        let relay = Relay::to(&primary).await;
        let service = Service::with(|settings| {
            settings.url.clone_from(&relay.url);
            settings.batch_workers = 1;
        });
        service.open("alice", "0").await;
        Pair { primary, replica, relay, service }
    }

    /// Makes the replica the primary. The address still leads to the old one.
    async fn promote(&self) {
        self.service.deposit("alice", "100").await.assert(201);
        let key = self.service.key("account", "alice");
        let mut primary = self.primary.connection();
        let mut replica = self.replica.connection();
        wait_for("the replica to have all data", || {
            let values: [Option<Vec<u8>>; 2] =
                [primary.get(&key).unwrap(), replica.get(&key).ok()?];
            (values[0] == values[1]).then_some(())
        });
        self.replica.command("REPLICAOF NO ONE");
        self.primary.command(&format!("REPLICAOF {}", self.replica.host_and_port()));
    }
}

fn watching() -> serde_json::Value {
    json!({ "watch": ["n"], "operations": [{ "type": "incr", "key": "n" }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_to_the_new_server_once_the_address_leads_there() {
    let pair = Pair::start().await;
    let service = &pair.service;
    service.post("/transactions", watching()).await.assert(200);
    pair.promote().await;
    service.deposit("alice", "1").await.expect_problem(503, "store_readonly");
    service.post("/transactions", watching()).await.expect_problem(503, "store_readonly");
    pair.relay.move_to(&pair.replica);
    // The connections to the old server are still open.
    let deposits = race(200, |_| service.deposit("alice", "1")).await;
    assert_eq!(deposits.count(201), 200);
    let transactions = race(40, |n| {
        service.post(
            "/transactions",
            json!({
                "watch": [format!("n-{n}")], "operations": [{ "type": "incr", "key": "n" }]
            }),
        )
    })
    .await;
    assert_eq!(transactions.count(200), 40);
    assert_eq!(service.balance("alice").await, "300.00");
    service.get("/readyz").await.assert(200);
}

/// Nobody writes, so nothing but the role of the server tells that it is not the primary any more.
#[tokio::test(flavor = "multi_thread")]
async fn reads_notice_that_their_server_became_a_replica() {
    let pair = Pair::start().await;
    pair.promote().await;
    let mut direct = Service::on_own_redis(&pair.replica);
    direct.space.clone_from(&pair.service.space);
    pair.relay.move_to(&pair.replica);
    // Cut off from the new primary, the old one does not learn of the deposit.
    pair.primary.command("REPLICAOF 127.0.0.1 1");
    direct.deposit("alice", "1").await.assert(201);
    let read = async || pair.service.get("/accounts/alice/balance").await;
    let found = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let answer = read().await.assert(200);
            if answer["balance"] == "101.00" {
                return;
            }
            assert_eq!(answer["balance"], "100.00");
        }
    });
    found.await.expect("the balance of the new primary");
    for _ in 0..50 {
        assert_eq!(read().await.assert(200)["balance"], "101.00");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_from_a_replica_that_stays_one() {
    let pair = Pair::start().await;
    pair.promote().await;
    let refused = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let answer = pair.service.get("/accounts/alice/balance").await;
            if answer.status.as_u16() == 503 {
                return answer;
            }
        }
    });
    refused.await.expect("a refusal").expect_problem(503, "store_readonly");
    pair.service.get("/counters/n").await.expect_problem(503, "store_readonly");
    // It is the primary again: the service is told nothing, and serves.
    pair.replica.command(&format!("REPLICAOF {}", pair.primary.host_and_port()));
    pair.primary.command("REPLICAOF NO ONE");
    pair.service.deposit("alice", "1").await.assert(201);
    assert_eq!(pair.service.balance("alice").await, "101.00");
}

/// A replica that lost its primary and serves nothing says MASTERDOWN.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_its_primary_is_left() {
    let pair = Pair::start().await;
    pair.promote().await;
    pair.primary.command("CONFIG SET replica-serve-stale-data no");
    pair.primary.command("REPLICAOF 127.0.0.1 1");
    pair.service.deposit("alice", "1").await.expect_problem(503, "store_readonly");
    pair.relay.move_to(&pair.replica);
    pair.service.deposit("alice", "1").await.assert(201);
    assert_eq!(pair.service.balance("alice").await, "101.00");
}

/// A keyed call has one effect, although the server changes while hundreds are on their way.
#[tokio::test(flavor = "multi_thread")]
async fn keyed_calls_survive_the_move_with_one_effect_each() {
    let pair = Pair::start().await;
    let service = &pair.service;
    pair.promote().await;
    let mut calls = race(300, |n| {
        let call = service.deposit("alice", "1").key(format!("d-{n}"));
        async move {
            loop {
                let answer = call.clone().await;
                match answer.status.as_u16() {
                    201 => return,
                    503 => tokio::task::yield_now().await,
                    _ => panic!("{:#}", answer.body),
                }
            }
        }
    });
    pair.relay.move_to(&pair.replica);
    for _ in 0..300 {
        calls.next().await;
    }
    assert_eq!(service.balance("alice").await, "400.00");
}

/// The connection on which waiters hear of their turn leads to the new server too, although the old one would go on
/// passing on messages.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_lock_hears_the_new_server() {
    let pair = Pair::start().await;
    let service = &pair.service;
    let lease = service.acquire("l", "me", 3_600_000).await.assert(201);
    let waits = json!({ "lock": "l", "owner": "you", "wait_ms": 20_000, "ttl_ms": 1000 });
    let waiting = tokio::spawn(service.post("/locks", waits).into_future());
    let channel = format!("lockstep:process:{}", service.store.process());
    let hears = |server: &Server| {
        let mut connection = server.connection();
        wait_for("the subscription", || {
            let (_, count): (String, u64) =
                redis::cmd("PUBSUB").arg("NUMSUB").arg(&channel).query(&mut connection).unwrap();
            (count > 0).then_some(())
        });
    };
    hears(&pair.primary);
    pair.promote().await;
    pair.relay.move_to(&pair.replica);
    hears(&pair.replica);
    let released = json!({ "lock": "l", "lease_id": lease["lease_id"] });
    let release = service.post("/locks/release", released).key("r");
    let released = async || release.clone().await.status.as_u16() == 200;
    wait_until("the release", released).await;
    waiting.await.unwrap().assert(201);
}
