mod batch;
mod decrement;
mod delete;
mod get;
mod increment;
mod model;
mod reset;
mod set;

use serde_json::{Value, json};

use crate::support::{Answer, HOUR, Service};

/// As far from zero as a counter goes.
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

async fn set(service: &Service, counter: &str, value: i64) -> Value {
    service.post("/counters/set", json!({ "counter": counter, "value": value })).await.assert(200)
}

/// A counter that has a value and ends in an hour.
async fn ending(service: &Service, counter: &str, value: i64) {
    let body = json!({ "counter": counter, "initial": value - 1, "ttl_ms": HOUR });
    service.post("/counters/increment", body).await.assert(200);
}

/// What a change answers.
fn changed(counter: &str, previous: i64, value: i64) -> Value {
    json!({
        "counter": counter, "value": value, "previous": previous, "applied": value - previous
    })
}

/// How a counter is told: its value, whether it is there, and whether it has an end.
async fn seen(service: &Service, counter: &str) -> (i64, bool, bool) {
    let told = service.get(&format!("/counters/{counter}")).await.assert(200);
    let ends = told["expires_at"].is_string();
    (told["value"].as_i64().unwrap(), told["exists"].as_bool().unwrap(), ends)
}

/// How long Redis itself keeps the key: -1 for ever, -2 where it is not there.
fn kept_ms(service: &Service, counter: &str) -> i64 {
    let key = service.key("counter", counter);
    redis::cmd("PTTL").arg(key).query(&mut service.raw()).unwrap()
}

/// Every key with the instant at which Redis lets go of it: a snapshot has the contents alone.
fn ends(service: &Service) -> Vec<(String, i64)> {
    let mut connection = service.raw();
    let end = |key: String| {
        let at = redis::cmd("PEXPIRETIME").arg(&key).query(&mut connection).unwrap();
        (key, at)
    };
    service.snapshot().into_iter().map(|(key, _)| key).map(end).collect()
}

/// A call that is refused, and leaves every value and every time to live as they were.
async fn refused(service: &Service, path: &str, body: Value, status: u16, code: &str) -> Value {
    let before = (service.snapshot(), ends(service));
    let answer: Answer = service.post(path, body.clone()).await;
    service.assert_unchanged(&before.0);
    assert_eq!(ends(service), before.1, "{path} {body}");
    answer.expect_problem(status, code)
}

/// Bad values of a field of a call, and what is said of them; nothing has changed after any.
async fn refuses_values(service: &Service, path: &str, good: &Value, bad: &[(&str, Value, &str)]) {
    for (pointer, value, code) in bad {
        let mut body = good.clone();
        match body.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => body[&pointer[1..]] = value.clone(),
        }
        let told = refused(service, path, body.clone(), 422, code).await;
        assert_eq!(told["errors"][0]["pointer"], *pointer, "{body}: {told:#}");
    }
}
