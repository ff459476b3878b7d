use serde_json::json;

use crate::{
    redis_commands::command_calls,
    support::{Server, Service},
};

#[tokio::test]
async fn answers_times_and_leaves_nothing() {
    let service = Service::new();
    let source =
        "redis.call('SET', KEYS[1] .. ':' .. ARGV[1], 1)\nreturn redis.call('INCR', KEYS[1])";
    let put = json!({ "keys": ["k"], "args": ["a"] });
    service.put_script_of("s", source, put).await.assert(201);
    service.run_script("s", &["n"], &["x"]).await.assert(200);
    let before = service.snapshot();
    let body = json!({ "keys": ["n"], "args": ["y"], "iterations": 60, "concurrency": 4 });
    let profile = service.post("/scripts/s/profile", body).await.assert(200);
    assert_eq!((&profile["iterations"], &profile["errors"]), (&json!(60), &json!(0)));
    let times = ["min_us", "p50_us", "p95_us", "p99_us", "max_us"];
    let times = times.map(|name| profile[name].as_u64().unwrap());
    assert!(times.is_sorted() && times[0] > 0, "{times:?}");
    assert!((times[0]..=times[4]).contains(&profile["mean_us"].as_u64().unwrap()));
    assert!(profile["per_second"].as_u64().unwrap() > 0);
    assert!(profile["server"]["calls"].as_u64().unwrap() >= 60);
    service.assert_unchanged(&before);
    let pattern = "lockstep-data:{profile-*";
    let left: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut service.raw()).unwrap();
    // A profile of another test may be running; its keys have an end.
    for key in left {
        let ttl: i64 = redis::cmd("PTTL").arg(&key).query(&mut service.raw()).unwrap();
        assert!(ttl > 0 || ttl == -2, "{key}");
        assert!(!key.contains(":n"), "{key}");
    }
}

/// The end of a key that a run has written is set once, however often the run has written it.
#[tokio::test]
async fn a_key_gets_its_end_once() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    let source = "for i = 1, 100 do redis.call('INCR', KEYS[1 + i % 2]) end";
    service.put_script_of("s", source, json!({ "keys": ["a", "b"] })).await.assert(201);
    let mut connection = server.connection();
    command_calls(&mut connection);
    let body = json!({ "keys": ["a", "b"], "iterations": 3, "concurrency": 1 });
    service.post("/scripts/s/profile", body).await.assert(200);
    let calls = command_calls(&mut connection);
    assert_eq!((calls["INCR"], calls["PEXPIRE"]), (300, 6), "{calls:?}");
}

#[tokio::test]
async fn counts_runs_that_fail() {
    let service = Service::new();
    service.put_script("s", "error('no')").await.assert(201);
    let profile = service.post("/scripts/s/profile", json!({ "iterations": 5 })).await.assert(200);
    assert_eq!((&profile["iterations"], &profile["errors"]), (&json!(5), &json!(5)));
    assert!(profile["p50_us"].is_null() && profile["mean_us"].is_null());
    assert_eq!(profile["first_error"], "The script s failed: no, at line 1.");
}

#[tokio::test]
async fn refuses_invalid_values() {
    let service = Service::new();
    let call = |body| service.post("/scripts/s/profile", body);
    call(json!({})).await.expect_problem(404, "script_not_found");
    service.put_script("s", "return 1").await.assert(201);
    for (body, pointer) in [
        (json!({ "iterations": 0 }), "/iterations"),
        (json!({ "iterations": 10_001 }), "/iterations"),
        (json!({ "concurrency": 0 }), "/concurrency"),
        (json!({ "concurrency": 33 }), "/concurrency"),
        (json!({ "keys": ["k"] }), "/keys"),
    ] {
        let refused = call(body).await.expect_problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
}
