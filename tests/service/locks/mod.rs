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

use crate::support::{Call, Service, Step};

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

/// A step of `locks/acquire` for the lock `l`, by a waiter who stands at a place, or at none yet.
fn acquire_step(service: &Service, waiter: &str, place: &str) -> Step {
    let keys = [
        ("processes", "locks"),
        ("index", "locks"),
        ("index", "lock_ends"),
        ("lock", "l"),
        ("lock_queue", "l"),
    ];
    let keys = keys.map(|(kind, id)| service.key(kind, id)).to_vec();
    let owner = "\"me\"";
    let args = [
        owner,
        "60000",
        "exclusive",
        "0",
        "{}",
        "1000",
        waiter,
        waiter,
        place,
        "0",
        "false",
        "",
        "l",
    ];
    (keys, args.map(str::to_owned).to_vec())
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
