//! Scripts that do not end: what their callers learn, and that everybody else goes on.

use serde_json::json;

use crate::support::{Server, Service, race, wait_for};

/// A server that is busy after 100 ms.
fn server() -> Server {
    Server::start(&["--busy-reply-threshold", "100"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_reads_is_killed_and_everybody_goes_on() {
    let server = server();
    let service = Service::on_own_redis(&server);
    service.open("alice", "1000").await;
    service.open("bob", "0").await;
    for (name, source) in [
        ("plain", "while true do end"),
        ("caught", "while true do pcall(function() while true do end end) end"),
        ("reads", "redis.call('GET', KEYS[1])\nwhile true do end"),
    ] {
        service.put_script_of(name, source, json!({ "keys": ["k"] })).await.assert(201);
        let body = json!({ "keys": ["k"], "timeout_ms": 150 });
        let looping = service.post(&format!("/scripts/{name}/run"), body).into_future();
        let looping = tokio::spawn(looping);
        let transfers = race(50, |_| service.transfer("alice", "bob", "1"));
        let refused = looping.await.unwrap().expect_problem(504, "script_timeout");
        assert_eq!(
            (&refused["killed"], &refused["outcome"]),
            (&json!(true), &json!("not_applied"))
        );
        assert_eq!(refused["timeout_ms"], 150);
        // They wait, or they are told that nothing was done.
        let transfers = transfers.await;
        assert_eq!(transfers.count(201) + transfers.count_code("store_busy"), 50);
    }
    service.transfer("alice", "bob", "1").await.assert(201);
    assert_eq!(service.eval("return 1", &[], &[]).await.assert(200)["result"], 1);
}

/// Scripts behind one that loops are not killed in its place.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_script_that_loops_is_killed() {
    let server = server();
    let service = Service::on_own_redis(&server);
    service.put_script("loop", "while true do end").await.assert(201);
    let source = "return redis.call('INCR', KEYS[1])";
    service.put_script_of("s", source, json!({ "keys": ["k"] })).await.assert(201);
    let answers = race(40, |task| match task % 10 {
        0 => service.post("/scripts/loop/run", json!({ "timeout_ms": 120 })),
        _ => service.run_script("s", &["n"], &[]),
    })
    .await;
    // Behind a loop that was not ended yet, a call waits for its turn or is told that nothing was done; so the loops that
    // run are as many as were not refused.
    let (mut done, mut loops, mut refused) = (0, 0, 0);
    for answer in answers.iter() {
        match answer.body["code"].as_str() {
            None => {
                assert_eq!(answer.body["name"], "s", "{:#}", answer.body);
                done += 1;
            }
            Some("script_timeout") => {
                assert_eq!(answer.body["name"], "loop", "{:#}", answer.body);
                assert_eq!(answer.body["killed"], true, "{:#}", answer.body);
                loops += 1;
            }
            Some("store_busy" | "overloaded") => {
                assert_eq!(answer.body["outcome"], "not_applied", "{:#}", answer.body);
                refused += 1;
            }
            Some(code) => panic!("{code}: {:#}", answer.body),
        }
    }
    assert_eq!((done + loops + refused, loops > 0, loops <= 4), (40, true, true));
    // Each run that was answered has run once, and no other has.
    let last = service.run_script("s", &["n"], &[]).await.assert(200);
    assert_eq!(last["result"], done + 1);
}

/// The loop has written, so the server does not end it. Its caller learns that, and the others that nothing of
/// theirs was done.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_has_written_is_told_as_what_it_is() {
    let server = server();
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.timeout = std::time::Duration::from_secs(2);
    });
    service.open("alice", "5").await;
    let source = "redis.call('SET', KEYS[1], 1)\nwhile true do end";
    service.put_script_of("s", source, json!({ "keys": ["k"] })).await.assert(201);
    let body = json!({ "keys": ["k"], "timeout_ms": 150 });
    let refused = service.post("/scripts/s/run", body).await.expect_problem(504, "script_timeout");
    assert_eq!((&refused["killed"], &refused["outcome"]), (&json!(false), &json!("unknown")));
    assert!(refused["detail"].as_str().unwrap().contains("without saving"), "{refused:#}");
    let refused = service.call("POST", "/scripts/kill").await;
    refused.expect_problem(409, "script_not_killable");
    let refused = service.deposit("alice", "1").await.expect_problem(503, "store_busy");
    assert_eq!(refused["outcome"], "not_applied");
    // A server in its place is served by the same workers.
    let port = server.url.rsplit(':').next().unwrap().parse().unwrap();
    drop(server);
    let server = Server::start_on(port);
    wait_for("the service", || redis::cmd("PING").query::<String>(&mut server.connection()).ok());
    service.open("alice", "5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_ends_a_script_of_anybody() {
    let server = server();
    let service = Service::on_own_redis(&server);
    assert_eq!(service.call("POST", "/scripts/kill").await.assert(200)["killed"], false);
    let mut connection = server.connection();
    let looping = std::thread::spawn(move || {
        redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut connection).unwrap_err()
    });
    loop {
        let killed = service.call("POST", "/scripts/kill").await.assert(200);
        if killed["killed"] == true {
            break;
        }
    }
    assert!(looping.join().unwrap().to_string().contains("killed by user"));
}
