mod acquire;
mod r#break;
mod format_1;
mod get;
mod guard;
mod heartbeat;
mod history;
mod list;
mod paused;
mod release;
mod renew;
mod repeats;
mod several;
mod validate;
mod waiting;
mod withdraw;

use serde_json::{Value, json};

use crate::support::{Call, Service};

/// A call that acquires the lock `l` for a minute unless the body says otherwise.
fn acquire(service: &Service, body: Value) -> Call {
    let mut whole = json!({ "owner": "me", "ttl_ms": 60_000 });
    if body.get("locks").is_none() {
        whole["lock"] = "l".into();
    }
    for (name, value) in body.as_object().unwrap() {
        whole[name] = value.clone();
    }
    service.post("/locks", whole)
}

fn release(service: &Service, lock: &str, lease_id: &Value) -> Call {
    service.post("/locks/release", json!({ "lock": lock, "lease_id": lease_id }))
}

/// Waits until so many calls wait for a lock.
async fn queue_of(service: &Service, lock: &str, length: u64) -> Value {
    for _ in 0..2000 {
        let seen = service.get(&format!("/locks/{lock}")).await.assert(200);
        if seen["queue_length"] == length {
            return seen;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("waited in vain for a queue of {length}");
}
