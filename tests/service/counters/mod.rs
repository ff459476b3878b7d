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

/// The largest value of a counter, 2^53 - 1; the smallest is its negative.
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

async fn set(service: &Service, counter: &str, value: i64) -> Value {
    service.post("/counters/set", json!({ "counter": counter, "value": value })).await.assert(200)
}

/// Creates a counter with this value that expires in an hour.
async fn set_with_expiry(service: &Service, counter: &str, value: i64) {
    let body = json!({ "counter": counter, "initial": value - 1, "ttl_ms": HOUR });
    service.post("/counters/increment", body).await.assert(200);
}

/// The answer of a change.
fn changed(counter: &str, previous: i64, value: i64) -> Value {
    json!({
        "counter": counter, "value": value, "previous": previous, "applied": value - previous
    })
}

/// Reads a counter: its value, whether it exists, and whether it expires.
async fn read(service: &Service, counter: &str) -> (i64, bool, bool) {
    let answer = service.get(&format!("/counters/{counter}")).await.assert(200);
    let expires = answer["expires_at"].is_string();
    (answer["value"].as_i64().unwrap(), answer["exists"].as_bool().unwrap(), expires)
}

/// The milliseconds that Redis keeps the key: -1 for ever, -2 where the key does not exist.
fn kept_ms(service: &Service, counter: &str) -> i64 {
    let key = service.key("counter", counter);
    redis::cmd("PTTL").arg(key).query(&mut service.raw()).unwrap()
}

/// Every key with the time at which Redis deletes it; a snapshot has only the contents.
fn expiries(service: &Service) -> Vec<(String, i64)> {
    let mut connection = service.raw();
    let expiry = |key: String| {
        let at = redis::cmd("PEXPIRETIME").arg(&key).query(&mut connection).unwrap();
        (key, at)
    };
    service.snapshot().into_iter().map(|(key, _)| key).map(expiry).collect()
}

/// Makes a call that is refused, and panics where a value or a time to live has changed.
async fn expect_refusal(
    service: &Service,
    path: &str,
    body: Value,
    status: u16,
    code: &str,
) -> Value {
    let before = (service.snapshot(), expiries(service));
    let answer: Answer = service.post(path, body.clone()).await;
    service.assert_unchanged(&before.0);
    assert_eq!(expiries(service), before.1, "{path} {body}");
    answer.expect_problem(status, code)
}

/// Panics unless each invalid value of a field is refused with its code, and changes nothing.
async fn assert_rejects_values(
    service: &Service,
    path: &str,
    good: &Value,
    bad: &[(&str, Value, &str)],
) {
    for (pointer, value, code) in bad {
        let mut body = good.clone();
        match body.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => body[&pointer[1..]] = value.clone(),
        }
        let answer = expect_refusal(service, path, body.clone(), 422, code).await;
        assert_eq!(answer["errors"][0]["pointer"], *pointer, "{body}: {answer:#}");
    }
}
