use lockstep::sweeper;
use redis::Commands;
use serde_json::json;

use crate::{
    audit::Audit,
    support::{Process, Server, Service, race, wait_for},
};

/// An account with many expired holds, written directly as the service would write them, because that
/// is faster. So many keys would slow down other tests, so they have a server of their own.
async fn with_ended_holds(count: usize) -> (Server, Service) {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    service.open("alice", "20000").await;
    service.open("hotel", "0").await;
    let hold_id =
        service.hold("alice", "hotel", "1", 1_000_000).await.assert(201)["hold_id"].clone();
    let hold_id = hold_id.as_str().unwrap();
    let mut connection = service.raw();
    let record: Vec<u8> = connection.get(service.key("hold", hold_id)).unwrap();
    let set = service.key("account_holds", "alice");
    let expires_at: f64 = connection.zscore(&set, format!("100:{hold_id}")).unwrap();
    let (mut members, mut records) = (redis::cmd("ZADD"), redis::cmd("MSET"));
    members.arg(&set);
    for number in 1..count {
        let id = format!("hold_{number}");
        members.arg(expires_at).arg(format!("100:{id}"));
        records.arg(service.key("hold", &id)).arg(&record);
    }
    if count > 1 {
        members.exec(&mut connection).unwrap();
        records.exec(&mut connection).unwrap();
    }
    service.edit_account("alice", |record| record["held"] = format!("{count}00").into());
    Audit::default().check(&service);
    service.advance_ms(1_000_000);
    (server, service)
}

/// The service asks for this when it has seen a hold that has ended. Until it runs, another process may have taken the hold
/// back, or the account may be lost.
#[tokio::test]
async fn an_account_without_holds_that_have_ended_is_left_alone() {
    let service = Service::new();
    service.open("alice", "5").await;
    service.open("bob", "5").await;
    service.held("bob", "alice", "1").await;
    let before = service.snapshot();
    for id in ["alice", "bob", "nobody"] {
        let keys = vec![service.key("account", id), service.key("account_holds", id)];
        let replies = service.run_steps("accounts/expire", &[(keys, Vec::new())]).unwrap();
        let reply: (String, u64) = redis::from_redis_value(replies[1].clone()).unwrap();
        assert_eq!(reply, ("ok".to_owned(), 0), "{id}");
    }
    service.assert_unchanged(&before);
}

fn hold_count(service: &Service) -> u64 {
    service.raw().zcard(service.key("account_holds", "alice")).unwrap()
}

#[tokio::test]
async fn ten_thousand_expired_holds_are_all_available_at_once() {
    let (_server, service) = with_ended_holds(10_000).await;
    // The amount is available only if every single hold has been reclaimed.
    service.transfer("alice", "hotel", "20000.01").await.expect_problem(409, "insufficient_funds");
    service.transfer("alice", "hotel", "20000").await.assert(201);
    assert_eq!(service.funds("alice").await, ["0.00", "0.00", "0.00"]);
    assert_eq!(hold_count(&service), 0);
    Audit::default().check(&service);
}

#[tokio::test]
async fn a_read_counts_many_expired_holds_as_available() {
    let (_server, service) = with_ended_holds(2500).await;
    assert_eq!(service.funds("alice").await, ["20000.00", "20000.00", "0.00"]);
    let integrity = service.get("/accounts/integrity").await.assert(200);
    assert_eq!(integrity["currencies"][0]["ok"], true, "{integrity:#}");
}

/// Several callers reclaim expired holds at once, possibly in one script; open holds, of another amount
/// each, stay held to the last unit.
#[tokio::test(flavor = "multi_thread")]
async fn open_holds_stay_held_while_expired_ones_are_reclaimed() {
    let (_server, service) = with_ended_holds(2300).await;
    let mut live = Vec::new();
    // The clock is back before the expiry of all, so that open holds can be placed beside them.
    service.advance_ms(-1_000_000);
    for _ in 0..20 {
        live.push(service.hold("alice", "hotel", "77.07", 9_000_000).await.assert(201));
    }
    service.advance_ms(1_000_000);
    Audit::during(
        &service,
        race(60, |number| {
            let service = service.clone();
            async move {
                let held = service.funds("alice").await[2].clone();
                assert_eq!(held, "1541.40");
                if number % 10 == 0 {
                    service.transfer("alice", "hotel", "1").await.assert(201);
                }
                let books = service.get("/accounts/integrity").await.assert(200);
                assert_eq!(books["currencies"][0]["ok"], true, "{books:#}");
            }
        }),
    )
    .await;
    assert_eq!(hold_count(&service), 20);
    for hold in live {
        service.capture(hold["hold_id"].as_str().unwrap(), None, true).await.assert(201);
    }
    assert_eq!(service.funds("alice").await[2], "0.00");
}

/// Steps of one script see the set as it was before the script: only the first of them reclaims
/// anything.
#[tokio::test]
async fn two_calls_in_one_batch_reclaim_each_hold_once() {
    let (_server, service) = with_ended_holds(1500).await;
    let keys = vec![service.key("account", "alice"), service.key("account_holds", "alice")];
    let step = (keys, Vec::new());
    let replies = service.run_steps("accounts/expire", &[step.clone(), step]).unwrap();
    // Both say that there is more.
    for reply in [&replies[1], &replies[3]] {
        let reply: (String, u64) = redis::from_redis_value(reply.clone()).unwrap();
        assert_eq!(reply, ("ok".to_owned(), 1));
    }
    assert_eq!(hold_count(&service), 500);
    Audit::default().check(&service);
}

/// Each script reclaims a thousand holds at most, so that it does not block Redis for long.
#[tokio::test]
async fn one_script_reclaims_a_thousand_holds() {
    let (_server, service) = with_ended_holds(1000).await;
    assert_eq!(service.funds("alice").await[2], "0.00");
    assert_eq!(hold_count(&service), 1000, "as many can be taken back on the way, in memory");
    let (_server, service) = with_ended_holds(1001).await;
    assert_eq!(service.funds("alice").await[2], "0.00");
    assert_eq!(hold_count(&service), 1, "of more, a thousand are taken back first");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_spend_reclaimed_money_once() {
    let (_server, service) = with_ended_holds(3000).await;
    let answers = Audit::during(&service, async {
        race(50, |_| service.transfer("alice", "hotel", "500")).await
    })
    .await;
    assert_eq!(answers.count(201), 40);
    assert_eq!(answers.count(409), 10);
    assert_eq!(answers.count_code("insufficient_funds"), 10);
}

/// The sweeper reads all spaces, so these tests have a server of their own.
async fn sweep(service: &Service) {
    let shards = service.store.shards();
    let mut cursor = 0;
    loop {
        cursor = sweeper::sweep_page(&service.store, &shards[0], cursor).await.unwrap();
        if cursor == 0 {
            return;
        }
    }
}

#[tokio::test]
async fn the_sweeper_reclaims_holds_that_no_call_touches() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    let mut connection = server.connection();
    let mut spaces = Vec::new();
    for _ in 0..3 {
        let service = service.in_new_space();
        service.open("alice", "100").await;
        service.open("hotel", "0").await;
        for ttl_ms in [1_000_000, 1_000_000, 5_000_000] {
            service.hold("alice", "hotel", "10", ttl_ms).await.assert(201);
        }
        spaces.push(service);
    }
    sweep(&service).await;
    for service in &spaces {
        let left: u64 = connection.zcard(service.key("account_holds", "alice")).unwrap();
        assert_eq!(left, 3, "none has ended");
    }
    service.advance_ms(1_000_000);
    sweep(&service).await;
    for service in &spaces {
        let left: u64 = connection.zcard(service.key("account_holds", "alice")).unwrap();
        assert_eq!(left, 1);
        assert_eq!(service.funds("alice").await, ["100.00", "90.00", "10.00"]);
    }
    service.advance_ms(4_000_000);
    sweep(&service).await;
    for service in &spaces {
        let set: bool = connection.exists(service.key("account_holds", "alice")).unwrap();
        assert!(!set, "no key without an end is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_sweeps_by_itself() {
    let server = Server::start(&[]);
    let process = Process::start(&["--redis-url", &server.url, "--sweep-interval-ms", "5"]);
    for account in ["alice", "hotel"] {
        let body = json!({ "account_id": account, "initial_balance": "10" });
        process.post("main", "/accounts", &body, account).await.unwrap().assert(201);
    }
    let body = json!({
        "from_account": "alice", "to_account": "hotel", "amount": "1", "ttl_ms": 1
    });
    process.post("main", "/accounts/hold", &body, "hold").await.unwrap().assert(201);
    let mut connection = server.connection();
    wait_for("the sweeper", || {
        let set: bool = connection.exists("lockstep:{main}:account_holds:alice").unwrap();
        (!set).then_some(())
    });
    let metrics = process.get_text("/metrics").await;
    assert!(metrics.contains("lockstep_swept_total{kind=\"account\"}"), "{metrics}");
}

#[tokio::test]
async fn the_sweeper_leaves_foreign_keys_alone() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    let mut connection = server.connection();
    let nobody = service.key("account_holds", "nobody");
    let () = connection.zadd(&nobody, "100:hold_1", 1).unwrap();
    let () = connection.set("lockstep:{x}:account_holds:text", "1").unwrap();
    let () = connection.set("lockstep:{a b}:account_holds:?", "1").unwrap();
    sweep(&service).await;
    let left: u64 = redis::cmd("DBSIZE").query(&mut connection).unwrap();
    assert_eq!(left, 3);
}

/// All callers find a backlog of expired holds, and one of them reclaims it for all.
#[tokio::test(flavor = "multi_thread")]
async fn one_caller_reclaims_for_all_that_wait() {
    let (_server, service) = with_ended_holds(20_000).await;
    let set_reads = |service: &Service| -> u64 {
        let stats: String =
            redis::cmd("INFO").arg("commandstats").query(&mut service.raw()).unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_zrangebyscore:calls="));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    };
    let before = set_reads(&service);
    let answers = race(256, |_| service.transfer("alice", "hotel", "1")).await;
    assert_eq!(answers.count(201), 256);
    assert_eq!(hold_count(&service), 0);
    // Twenty thousand holds are twenty scripts. Each caller reads the set before and after, and not
    // once a script.
    let set_reads = set_reads(&service) - before;
    assert!(set_reads < 2 * 256 + 3 * 20, "{set_reads} looks at the set");
    Audit::default().check(&service);
}

/// One expired hold is taken back once: it leaves the set with the next call, and does not count again when
/// another one expires.
#[tokio::test]
async fn a_single_expired_hold_is_taken_back_once() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    for round in 1..=3 {
        service.hold("alice", "hotel", "30", 1000).await.assert(201);
        service.advance_ms(1000);
        service.transfer("alice", "hotel", "10").await.assert(201);
        assert_eq!(hold_count(&service), 0);
        assert_eq!(service.funds("alice").await[2], "0.00", "after round {round}");
    }
    Audit::default().check(&service);
}
