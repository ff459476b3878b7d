//! Slots that move from one master to another, key by key and as a whole, under load.

use axum::{body::Body, http::Request};
use serde_json::json;

use crate::support::{Cluster, Server, Service, operation, slot_of, wait_for, wait_until};

use super::{calls::spaces, load::Load};

/// Moves a slot in the old way, key by key. The source is told last that it has lost the slot.
async fn migrate(cluster: &Cluster, slot: u16, source: &Server, target: &Server) {
    let (source_id, target_id) = (source.cluster_id(), target.cluster_id());
    target.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {source_id}"));
    source.command(&format!("CLUSTER SETSLOT {slot} MIGRATING {target_id}"));
    let address = target.host_and_port();
    let (host, port) = address.split_once(' ').unwrap();
    loop {
        let mut connection = source.connection();
        let mut keys = redis::cmd("CLUSTER");
        let keys: Vec<String> =
            keys.arg("GETKEYSINSLOT").arg(slot).arg(3).query(&mut connection).unwrap();
        if keys.is_empty() {
            break;
        }
        let mut migrate = redis::cmd("MIGRATE");
        migrate.arg(host).arg(port).arg("").arg(0).arg(5000).arg("KEYS").arg(&keys);
        // A key may have ended meanwhile.
        migrate.exec(&mut connection).unwrap();
        tokio::task::yield_now().await;
    }
    target.command(&format!("CLUSTER SETSLOT {slot} NODE {target_id}"));
    source.command(&format!("CLUSTER SETSLOT {slot} NODE {target_id}"));
    for node in cluster.masters() {
        node.command(&format!("CLUSTER SETSLOT {slot} NODE {target_id}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_migrates_key_by_key_tears_nothing() {
    let cluster = Cluster::of_masters(3);
    let service = Service::on_cluster(&cluster);
    let all = spaces(&service, 6);
    let load = Load::start(all.clone()).await;
    load.wait_for(60).await;
    for space in all.iter().take(3) {
        let source = cluster.owner(&space.space);
        let target = cluster.nodes.iter().find(|node| node.url != source.url).unwrap();
        migrate(&cluster, slot_of(&space.space), source, target).await;
        load.wait_for(60).await;
        assert_eq!(cluster.owner(&space.space).url, target.url);
    }
    for caller in load.end().await {
        caller.check(0).await;
        let is_expected = |code: &String| code == "store_unavailable";
        assert!(caller.refusals.iter().all(is_expected), "{:?}", caller.refusals);
    }
}

/// Valkey 9 moves slots as a whole, and its source serves them until the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_migrates_as_a_whole_is_served_meanwhile() {
    let cluster = Cluster::of_masters(3);
    let mut connection = cluster.nodes[0].connection();
    let mut help = redis::cmd("CLUSTER");
    let help: Vec<String> = help.arg("HELP").query(&mut connection).unwrap();
    if !help.iter().any(|line| line.contains("MIGRATESLOTS")) {
        eprintln!("this server has no CLUSTER MIGRATESLOTS");
        return;
    }
    let service = Service::on_cluster(&cluster);
    let all = spaces(&service, 6);
    let load = Load::start(all.clone()).await;
    load.wait_for(60).await;
    for space in all.iter().take(3) {
        let source = cluster.owner(&space.space);
        let target = cluster.nodes.iter().find(|node| node.url != source.url).unwrap();
        let (slot, id) = (slot_of(&space.space), target.cluster_id());
        source.command(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {id}"));
        wait_for("the slot to move", || {
            (cluster.owner(&space.space).url == target.url).then_some(())
        });
        load.wait_for(60).await;
    }
    for caller in load.end().await {
        caller.check(0).await;
        assert!(caller.refusals.is_empty(), "{:?}", caller.refusals);
    }
}

/// Each line of the stream works only behind the one before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_its_order_when_its_slot_moves() {
    const LINES: u64 = 20_000;
    let cluster = Cluster::of_masters(3);
    let service = Service::on_cluster(&cluster);
    for _ in 0..3 {
        let space = service.in_new_space();
        space.post("/counters/set", json!({ "counter": "c", "value": 0 })).await.assert(200);
        let line = |n: u64| {
            let input = json!({ "counter": "c", "value": n + 1, "if_value": n });
            format!("{}\n", operation("counters/set", input))
        };
        let lines: String = (0..LINES).map(line).collect();
        let stream = Request::post("/bulk").header("content-type", "application/x-ndjson");
        let stream = stream.header("lockstep-space", &space.space).body(Body::from(lines)).unwrap();
        let running = tokio::spawn({
            let space = space.clone();
            async move { space.send(stream).await }
        });
        wait_until("500 lines", async || space.counter("c").await >= 500).await;
        // Without a key of its own the slot moves at once.
        let source = cluster.owner(&space.space);
        let target = cluster.nodes.iter().find(|node| node.url != source.url).unwrap();
        move_at_once(&cluster, &space, source, target);
        let lines_before = space.counter("c").await;
        assert!(lines_before < i64::try_from(LINES).unwrap(), "the slot moved too late");
        let answer = running.await.unwrap();
        assert_eq!(answer.status.as_u16(), 200);
        let last = space.counter("c").await;
        assert_eq!(last, i64::try_from(LINES).unwrap(), "lines were applied out of their order");
    }
}

/// Moves a slot with its keys while the source is paused, so that no call finds a part of them.
fn move_at_once(cluster: &Cluster, space: &Service, source: &Server, target: &Server) {
    let slot = slot_of(&space.space);
    let (host, port) = {
        let address = target.host_and_port();
        let (host, port) = address.split_once(' ').unwrap();
        (host.to_owned(), port.to_owned())
    };
    let (source_id, target_id) = (source.cluster_id(), target.cluster_id());
    target.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {source_id}"));
    let mut connection = source.connection();
    let mut keys = redis::cmd("CLUSTER");
    let keys: Vec<String> =
        keys.arg("GETKEYSINSLOT").arg(slot).arg(1000).query(&mut connection).unwrap();
    // One transaction: the keys go, and the slot with them.
    let () = redis::pipe()
        .atomic()
        .cmd("CLUSTER")
        .arg("SETSLOT")
        .arg(slot)
        .arg("MIGRATING")
        .arg(&target_id)
        .ignore()
        .cmd("MIGRATE")
        .arg(host)
        .arg(port)
        .arg("")
        .arg(0)
        .arg(5000)
        .arg("KEYS")
        .arg(&keys)
        .ignore()
        .query(&mut connection)
        .unwrap();
    target.command(&format!("CLUSTER SETSLOT {slot} NODE {target_id}"));
    source.command(&format!("CLUSTER SETSLOT {slot} NODE {target_id}"));
    for node in cluster.masters() {
        node.command(&format!("CLUSTER SETSLOT {slot} NODE {target_id}"));
    }
}
