//! Holds, reservations and leases have ended at the very millisecond of their end, and not one before, for calls that
//! read them.

use serde_json::Value;

use crate::support::{HOUR, Service, run_step_at};

/// Runs a script at a moment, with an id as its only argument, and returns the fields of its reply.
fn at(service: &Service, now_ms: u64, operation: &str, keys: &[(&str, &str)]) -> Vec<String> {
    let (_, id) = keys[0];
    let keys: Vec<_> = keys.iter().map(|(kind, id)| service.key(kind, id)).collect();
    run_step_at(&mut service.raw(), now_ms, operation, &keys, &[id.to_owned()])
}

/// The record in a reply, whose instants are in milliseconds.
fn record(fields: &[String]) -> Value {
    serde_json::from_str(&fields[1]).unwrap()
}

#[tokio::test]
async fn of_a_hold() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    let id = service.held("alice", "bob", "40").await;
    let hold = |now_ms| record(&at(&service, now_ms, "accounts/get_hold", &[("hold", &id)]));
    let end = hold(0)["expires_at"].as_u64().unwrap();
    let keys = [("account", "alice"), ("account_holds", "alice")];
    for (now_ms, status, available) in [(end - 1, "open", "60.00"), (end, "expired", "100.00")] {
        assert_eq!(hold(now_ms)["status"], status);
        assert_eq!(at(&service, now_ms, "accounts/balance", &keys)[4], available);
    }
}

#[tokio::test]
async fn of_a_reservation() {
    let service = Service::new();
    service.add_product("cup", 10).await;
    let made = service.reserve("cup", 3, HOUR.cast_unsigned()).await.assert(201);
    let id = made["reservation_id"].as_str().unwrap();
    let reservation =
        |now_ms| record(&at(&service, now_ms, "inventory/get_reservation", &[("reservation", id)]));
    let end = reservation(0)["expires_at"].as_u64().unwrap();
    let keys = [("product", "cup"), ("product_holds", "cup"), ("movements", "cup")];
    for (now_ms, status, available) in [(end - 1, "held", 7), (end, "expired", 10)] {
        assert_eq!(reservation(now_ms)["status"], status);
        let product = record(&at(&service, now_ms, "inventory/get_product", &keys));
        assert_eq!(product["available"], available, "{status}");
    }
}

#[tokio::test]
async fn of_a_lock() {
    let service = Service::new();
    service.acquire("door", "me", HOUR.cast_unsigned()).await.assert(201);
    let held = |now_ms| {
        let keys = [("locks", "processes"), ("lock", "door"), ("lock_queue", "door")];
        let keys = keys.map(|(kind, id)| service.key(kind, id));
        run_step_at(&mut service.raw(), now_ms, "locks/get", &keys, &["door".to_owned()])
    };
    let holders: Value = serde_json::from_str(&held(0)[5]).unwrap();
    // At the moment 0 all of its time is left.
    let end = holders[0]["expires_in_ms"].as_u64().unwrap();
    assert_eq!((held(end - 1)[2].as_str(), held(end)[2].as_str()), ("true", "false"));
}
