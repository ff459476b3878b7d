use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, Service, race, wait_for};

const BRANCHES: &str = "#!lua
local n = redis.call('INCR', KEYS[1]) -- counts
if n > 10 then
  redis.call('DEL', KEYS[1])
  return 'many'
end
for i = 1, 2 do
  redis.call('RPUSH', KEYS[2], i)
end
return { n, 'few' }";

fn lines(trace: &Value) -> Vec<u64> {
    let steps = trace["steps"].as_array().unwrap();
    steps.iter().map(|step| step["line"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn shows_the_lines_that_ran_and_keeps_nothing() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    let put = json!({ "keys": ["n", "list"] });
    service.put_script_of("s", BRANCHES, put).await.assert(201);
    let body = json!({ "keys": ["n", "list"] });
    let before = service.snapshot();
    let trace = service.post("/scripts/s/trace", body.clone()).await.assert(200);
    assert_eq!(lines(&trace), [2, 3, 7, 8, 7, 8, 7, 10]);
    let first = &trace["steps"][0];
    assert_eq!(first["source"], "local n = redis.call('INCR', KEYS[1]) -- counts");
    let command = format!("INCR lockstep-data:{{{}}}:n", service.space);
    assert_eq!((&first["command"], &first["reply"]), (&json!(command), &json!("1")));
    assert_eq!((&trace["result"], &trace["complete"]), (&json!([1, "few"]), &json!(true)));
    service.assert_unchanged(&before);

    service.post("/batch/set", json!({ "values": { "n": "10" } })).await.assert(200);
    let before = service.snapshot();
    let trace = service.post("/scripts/s/trace", body).await.assert(200);
    assert_eq!((lines(&trace), &trace["result"]), (vec![2, 3, 4, 5], &json!("many")));
    service.assert_unchanged(&before);
    // The run itself does what the trace has shown.
    let ran = service.run_script("s", &["n", "list"], &[]).await.assert(200);
    assert_eq!(ran["result"], "many");
}

#[tokio::test]
async fn shows_the_way_to_an_error() {
    let service = Service::new();
    service.put_script("s", "local x = 1\nif x then\n  error('no')\nend").await.assert(201);
    let trace = service.post("/scripts/s/trace", json!({})).await.assert(200);
    assert_eq!(lines(&trace), [1, 2, 3]);
    assert!(trace["result"].is_null());
    assert_eq!(trace["error"]["code"], "script_error");
    assert_eq!((&trace["error"]["line"], &trace["error"]["message"]), (&json!(3), &json!("no")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_after_its_steps() {
    let mut slow = 0;
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    for (name, catch) in [
        ("s", ""),
        ("pcall", "pcall(f)"),
        ("xpcall", "xpcall(f, function() return 1 end)"),
        ("coroutine", "coroutine.resume(coroutine.create(f))"),
    ] {
        let source = format!(
            "local function f()\n  local x = 0\n  x = x + 1\nend\nwhile true do\n  f()\n  {catch}\nend"
        );
        service.put_script(name, &source).await;
        for max_steps in 50..58 {
            let path = format!("/scripts/{name}/trace");
            let started = Instant::now();
            let trace = service.post(&path, json!({ "max_steps": max_steps })).await.assert(200);
            assert_eq!((lines(&trace).len(), &trace["complete"]), (max_steps, &json!(false)));
            wait_for("the end of the copy", || copies_of(&server).is_empty().then_some(()));
            slow += u32::from(started.elapsed() > Duration::from_secs(3));
        }
    }
    service.open("alice", "1").await;
    // A script that had caught the end of its trace would go on until the debugger has waited in vain for a command.
    assert!(slow < 4, "{slow} of 32 traces");
}

/// The processes of the server that run a trace.
fn copies_of(server: &Server) -> String {
    let info: String = redis::cmd("INFO").arg("server").query(&mut server.connection()).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().to_owned()
}

/// A caller who leaves during a trace ends it: the copy of the server ends, and the next trace has its place. Until then
/// another caller is told to come again.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_ends_the_trace() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    service.put_script("loop", "local x = 0\nwhile true do\n  x = x + 1\nend").await.assert(201);
    service.put_script("s", "return 1").await.assert(201);
    let before = service.snapshot();
    let long = service.post("/scripts/loop/trace", json!({ "max_steps": 10_000 })).into_future();
    let caller = tokio::spawn(long);
    wait_for("the copy", || (!copies_of(&server).is_empty()).then_some(()));
    let refused = service.post("/scripts/s/trace", json!({})).await;
    assert!(!caller.is_finished(), "the trace has ended too early to leave it");
    refused.expect_problem(503, "overloaded");
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    wait_for("the end of the copy", || copies_of(&server).is_empty().then_some(()));
    service.assert_unchanged(&before);
    // The place is free once the service has noticed the end.
    let mut next = service.post("/scripts/s/trace", json!({})).await;
    while next.status == 503 {
        next.expect_problem(503, "overloaded");
        next = service.post("/scripts/s/trace", json!({})).await;
    }
    assert_eq!(next.assert(200)["result"], 1);
}

#[tokio::test]
async fn refuses_invalid_values() {
    let service = Service::new();
    let call = |body| service.post("/scripts/s/trace", body);
    call(json!({})).await.expect_problem(404, "script_not_found");
    service.put_script("s", "return 1").await.assert(201);
    for (body, pointer) in [
        (json!({ "max_steps": 0 }), "/max_steps"),
        (json!({ "max_steps": 10_001 }), "/max_steps"),
        (json!({ "args": ["x"] }), "/args"),
    ] {
        let refused = call(body).await.expect_problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
}

/// Each trace copies the server, so one runs at a time; the others are told to come again.
#[tokio::test(flavor = "multi_thread")]
async fn one_runs_at_a_time() {
    let service = Service::new();
    service.put_script("s", "local x = 0\nfor i = 1, 20 do\n  x = x + i\nend").await.assert(201);
    let answers = race(12, |_| service.post("/scripts/s/trace", json!({}))).await;
    let statuses = || answers.iter().map(|answer| &answer.body["code"]).collect::<Vec<_>>();
    assert!(answers.count(200) >= 1, "{:?}", statuses());
    assert_eq!(answers.count(200) + answers.count_code("overloaded"), 12, "{:?}", statuses());
}

/// A user who may not debug is told so, and the end of the trace is not sent again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_debugger_is_left_at_once() {
    let server = Server::start(&[]);
    let rules = ["on", ">secret", "~*", "&*", "+@all", "-script|debug"];
    let mut admin = server.connection();
    redis::cmd("ACL").arg("SETUSER").arg("traceless").arg(&rules).exec(&mut admin).unwrap();
    let url = server.url.replace("redis://", "redis://traceless:secret@");
    let service = Service::with(|settings| settings.url = url);
    service.put_script("s", "return 1").await.assert(201);
    let mut refused = 0;
    while refused < 3 {
        let answer = service.post("/scripts/s/trace", json!({})).await;
        if answer.status != 503 {
            answer.expect_problem(501, "trace_unavailable");
            refused += 1;
        }
    }
    let info: String = redis::cmd("INFO").arg("errorstats").query(&mut admin).unwrap();
    let errors = info.lines().find_map(|line| line.strip_prefix("errorstat_ERR:count="));
    let errors = errors.map_or(0, |count| count.trim().parse::<u64>().unwrap());
    assert!(errors < 20, "{errors} errors for three traces");
}
