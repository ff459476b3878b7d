//! The record of an entry, byte for byte as it is stored: a version of the service that reads it otherwise would lose
//! what is there.

use redis::Commands;
use serde_json::{Value, json};

use super::{fill, get};
use crate::support::Service;

/// The most processes that an entry remembers.
const MAX_WAITING: u8 = 64;

/// A moment in the year 2286, in milliseconds.
const FAR: f64 = 1e13;

/// An entry without a value, with a lease that ends then, which so many processes wait for.
fn leased(token: &str, waiting: u8) -> Vec<u8> {
    // Its form, its flags (it has a lease), and how many tags and processes follow the numbers.
    let mut record = vec![1, 64];
    // Version, stored_at, expires_at, stale_ms, refresh_ms, and the newest invalidation before it.
    for number in [0.0, 0.0, 0.0, 0.0, 0.0, 0.0_f64] {
        record.extend(number.to_le_bytes());
    }
    record.extend([0, waiting]);
    record.extend(token.as_bytes());
    record.push(0);
    // Of the lease: when it was granted, when it ends, and the newest invalidation before it.
    for number in [1.0, FAR, 0.0_f64] {
        record.extend(number.to_le_bytes());
    }
    for process in 0..waiting {
        record.extend(format!("{process:032x}\0").bytes());
    }
    record
}

#[tokio::test]
async fn a_lease_is_read_as_it_was_stored() {
    let service = Service::new();
    let key = service.key("cache", "k");
    let () = service.raw().set_ex(&key, leased("lease_1", 2), 1000).unwrap();
    let seen = get(&service, json!({})).await.assert(200);
    assert_eq!([&seen["hit"], &seen["filling"]], [&json!(false), &json!(true)]);
    fill(&service, &json!("lease_2"), json!({})).await.expect_problem(409, "cache_lease_lost");
    fill(&service, &json!("lease_1"), json!({})).await.assert(200);
    assert_eq!(get(&service, json!({})).await.assert(200)["value"], "v");
}

/// More processes than an entry remembers may wait for it; those beyond look for themselves.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_remembers_so_many_processes() {
    for (before, after) in [(MAX_WAITING - 1, MAX_WAITING), (MAX_WAITING, MAX_WAITING)] {
        let service = Service::new();
        let key = service.key("cache", "k");
        let () = service.raw().set_ex(&key, leased("lease_1", before), 1000).unwrap();
        let waiting = get(&service, json!({ "wait_ms": 50 })).await.assert(200);
        assert_eq!(waiting["filling"], Value::Bool(true));
        let record: Vec<u8> = service.raw().get(&key).unwrap();
        let mut expected = leased("lease_1", before);
        expected[51] = after;
        assert!(record.starts_with(&expected), "{before}: {record:?}");
        let length = leased("lease_1", after).len();
        assert_eq!(record.len(), length, "{before}");
    }
}
