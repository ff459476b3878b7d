//! Masters that are killed, that hand over to their replica, and that answer nothing, under load.

use std::time::Duration;

use crate::support::{Cluster, Service, slot_of, wait_for};

use super::{
    calls::spaces,
    load::{Caller, Load},
};

/// The number of failovers of a test: `LOCKSTEP_TEST_FAILOVERS`, or few.
fn rounds(few: usize) -> usize {
    let asked = std::env::var("LOCKSTEP_TEST_FAILOVERS").ok();
    asked.map_or(few, |text| text.parse().expect("LOCKSTEP_TEST_FAILOVERS is a number"))
}

/// The transfers that a master may have acknowledged and not yet sent to its replica when it is killed. Only waiting
/// for replicas would make it none.
const UNREPLICATED: u64 = 4;

/// A failover of Redis takes its node timeout of a second, and then about as long for the election.
const OUTAGE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_hands_over_loses_nothing_and_does_nothing_twice() {
    let cluster = Cluster::with_replicas(3);
    let service = Service::on_cluster(&cluster);
    let load = Load::start(spaces(&service, 12)).await;
    for round in 0..rounds(3) {
        load.wait_for(50).await;
        let place = round % 3;
        let (master, replica) = (&cluster.nodes[place], &cluster.nodes[place + 3]);
        let is_master = |node: &crate::support::Server| {
            cluster.masters().iter().any(|master| master.url == node.url)
        };
        let next = if is_master(master) { replica } else { master };
        next.command("CLUSTER FAILOVER");
        wait_for("the replica to be the master", || is_master(next).then_some(()));
        load.wait_for(50).await;
        cluster.wait_until_whole();
    }
    for caller in load.end().await {
        caller.check(0).await;
    }
    service.get("/readyz").await.assert(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replica_of_a_killed_master_takes_over() {
    let cluster = Cluster::with_replicas(3);
    let service = Service::on_cluster(&cluster);
    let load = Load::start(spaces(&service, 12)).await;
    load.wait_for(100).await;
    cluster.nodes[0].kill();
    wait_for("the replica to be the master", || {
        cluster.masters().iter().any(|node| node.url == cluster.nodes[3].url).then_some(())
    });
    load.wait_for(200).await;
    let callers = load.end().await;
    for caller in &callers {
        let is_hit = slot_of(&caller.service.space) < 16_384 / 3;
        caller.check(if is_hit { UNREPLICATED } else { 0 }).await;
        let longest = caller.longest;
        if !is_hit {
            assert!(caller.refusals.is_empty(), "{:?}", caller.refusals);
        }
        assert!(longest < OUTAGE, "{} waited {longest:?}", caller.service.space);
    }
    let hit = |caller: &&Caller| slot_of(&caller.service.space) < 16_384 / 3;
    assert!(callers.iter().filter(hit).count() > 0);
}

/// Whatever a master acknowledges its replica has, so that nothing is lost with the master.
#[tokio::test(flavor = "multi_thread")]
async fn killed_masters_lose_nothing_that_their_replica_has_confirmed() {
    let mut cluster = Cluster::with_replicas(3);
    let service = Service::with(|settings| {
        settings.url = cluster.url();
        (settings.batch_workers, settings.wait_replicas) = (1, 1);
    });
    let load = Load::start(spaces(&service, 12)).await;
    for round in 0..rounds(2) {
        load.wait_for(100).await;
        let places = [round % 3, round % 3 + 3];
        let is_master = |cluster: &Cluster, place: usize| {
            cluster.masters().iter().any(|master| master.url == cluster.nodes[place].url)
        };
        let [next, dead] =
            if is_master(&cluster, places[0]) { [places[1], places[0]] } else { places };
        cluster.nodes[dead].kill();
        wait_for("the replica to be the master", || is_master(&cluster, next).then_some(()));
        cluster.nodes[dead].restart();
        cluster.wait_until_whole();
        load.wait_for(100).await;
    }
    let mut acknowledged = 0;
    for caller in load.end().await {
        caller.check(0).await;
        assert!(caller.longest < OUTAGE, "{} waited {:?}", caller.service.space, caller.longest);
        println!("{} transfers, {:?} at the longest", caller.acknowledged, caller.longest);
        acknowledged += caller.acknowledged;
    }
    println!("{acknowledged} transfers, each once");
}

/// A master without a replica is gone: the calls of its spaces fail, and no others.
#[tokio::test(flavor = "multi_thread")]
async fn one_master_that_is_gone_fails_its_spaces_and_no_others() {
    let cluster = Cluster::of_masters(3);
    let service = Service::on_cluster(&cluster);
    let all = spaces(&service, 15);
    for space in &all {
        space.open("alice", "1").await;
    }
    let gone = cluster.owner(&all[0].space).url.clone();
    let (dead, alive): (Vec<_>, Vec<_>) =
        all.iter().partition(|space| cluster.owner(&space.space).url == gone);
    assert!(!alive.is_empty());
    cluster.nodes.iter().find(|node| node.url == gone).unwrap().kill();
    for _ in 0..3 {
        for space in &alive {
            space.deposit("alice", "1").await.assert(201);
        }
        let problem = dead[0].deposit("alice", "1").await;
        let problem = problem.expect_problem(503, "store_unavailable");
        assert_eq!(problem["outcome"], "not_applied");
    }
    service.get("/readyz").await.assert(200);
    let health = service.get("/health").await.assert(200);
    assert_eq!(health["status"], "warning");
    let states = health["shards"].as_array().unwrap().iter().map(|shard| &shard["status"]);
    assert_eq!(states.filter(|status| *status == "unavailable").count(), 1);
}

/// A master that answers nothing holds up its own calls only, however many there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_hangs_holds_up_its_own_calls_only() {
    let cluster = Cluster::of_masters(3);
    let service = Service::with(|settings| {
        settings.url = cluster.url();
        settings.batch_workers = 1;
        settings.queue = 64;
        settings.timeout = Duration::from_secs(2);
    });
    let all = spaces(&service, 15);
    for space in &all {
        space.open("alice", "1").await;
    }
    let hung = cluster.owner(&all[0].space);
    let alive: Vec<_> =
        all.iter().filter(|space| cluster.owner(&space.space).url != hung.url).collect();
    let hanging = hung.hang();
    let stuck = crate::support::race(200, |_| all[0].deposit("alice", "1"));
    for _ in 0..20 {
        for space in &alive {
            space.deposit("alice", "1").await.assert(201);
        }
    }
    drop(hanging);
    let answers = stuck.await;
    for answer in answers.iter() {
        assert!([201, 503, 504].contains(&answer.status.as_u16()), "{:#}", answer.body);
    }
    wait_for("calls to work again", || {
        cluster.nodes.iter().all(|node| node.is_running()).then_some(())
    });
    loop {
        let answer = all[0].deposit("alice", "1").await;
        if answer.status.as_u16() == 201 {
            return;
        }
    }
}
