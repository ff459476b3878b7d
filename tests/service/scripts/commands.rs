//! The calls about what the server has loaded, and the rights that the calls under `/scripts` need.

use serde_json::json;

use crate::support::{Server, Service, race, url_without};

#[tokio::test]
async fn a_flush_forgets_scripts_and_loads_those_of_the_service_again() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    service.put_script("s", "return 1").await.assert(201);
    let loaded = async |name: &str| {
        let cache = service.get("/scripts/cache").await.assert(200);
        let scripts = cache["scripts"].as_array().unwrap().clone();
        scripts.iter().find(|script| script["name"] == name).unwrap()["loaded"].clone()
    };
    assert_eq!(loaded("s").await, true);
    assert_eq!(loaded("accounts_transfer").await, false);
    let flushed = service.call("POST", "/scripts/flush").await.assert(200);
    assert!(flushed["reloaded"].as_u64().unwrap() > 40);
    assert_eq!(loaded("s").await, false);
    assert_eq!(loaded("accounts_transfer").await, true);
    assert_eq!(service.run_script("s", &[], &[]).await.assert(200)["result"], 1);
    assert_eq!(loaded("s").await, true);
    let cache = service.get("/scripts/cache").await.assert(200);
    let all = cache["scripts"].as_array().unwrap().len();
    assert_eq!(cache["loaded"].as_u64().unwrap() + cache["missing"].as_u64().unwrap(), all as u64);
}

/// A right that only these calls need keeps none but them from working.
#[tokio::test]
async fn a_missing_right_disables_only_the_calls_that_need_it() {
    let server = Server::start(&[]);
    let url = url_without(&server, &["+script", "+evalsha_ro", "+eval_ro"], &[]);
    let service = Service::with(|settings| settings.url.clone_from(&url));
    service.open("alice", "5").await;
    service.put_script("s", "return 1").await.assert(201);
    assert_eq!(service.run_script("s", &[], &[]).await.assert(200)["result"], 1);
    let validated = service.post("/scripts/validate", json!({ "source": "return 1" })).await;
    validated.assert(200);
    let refused = service.post("/scripts/s/trace", json!({})).await;
    refused.expect_problem(501, "trace_unavailable");
    for call in ["/scripts/flush", "/scripts/kill"] {
        let refused = service.call("POST", call).await.expect_problem(503, "store_unavailable");
        assert!(refused["detail"].as_str().unwrap().contains("+script"), "{refused:#}");
    }
    service.get("/scripts/cache").await.expect_problem(503, "store_unavailable");
    service.put_script_of("r", "return 1", json!({ "read_only": true })).await.assert(201);
    let refused = service.run_script("r", &[], &[]).await;
    refused.expect_problem(503, "store_unavailable");
}

/// The debugger of Valkey 9 stops the scripts of all callers, so it is not used. Whatever the server is, callers beside a
/// trace notice nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_stops_no_other_caller() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    service.put_script("s", "local x = 1\nreturn x").await.assert(201);
    let calls = race(200, |n| match n % 5 {
        0 => service.post("/scripts/s/trace", json!({})),
        _ => service.increment("c", 1),
    });
    let answers = calls.await;
    assert_eq!(service.counter("c").await, 160);
    let info: String = redis::cmd("INFO").arg("server").query(&mut server.connection()).unwrap();
    let traced = answers.count(200) - 160;
    let unavailable = answers.count_code("trace_unavailable");
    // One trace runs at a time.
    assert_eq!(traced + unavailable + answers.count_code("overloaded"), 40);
    let is_valkey = info.contains("valkey_version:");
    assert_eq!((traced == 0, unavailable > 0), (is_valkey, is_valkey));
}
