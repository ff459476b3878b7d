use redis::Commands;
use serde_json::json;

use super::{Monitored, of_operation};
use crate::support::{HOUR, all_keys};

const EVERYTHING: &str = "lockstep:{monitoring}:*";

#[tokio::test]
async fn every_key_of_statistics_has_an_end() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    monitored.flushed("").await;
    let mut connection = monitored.server.connection();
    let keys = all_keys(&mut connection, EVERYTHING);
    assert_eq!(keys.len(), 3, "{keys:?}");
    for key in keys {
        let ttl_ms: i64 = connection.pttl(&key).unwrap();
        let most = if key.contains("minute") { 26 * HOUR } else { 170 * HOUR };
        assert!((most - HOUR..=most).contains(&ttl_ms), "{key}: {ttl_ms}");
    }
}

#[tokio::test]
async fn a_flush_that_is_sent_again_counts_once() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    monitored.flushed("").await;
    monitored.service.get("/accounts/alice").await.assert(200);
    // The server runs no scripts, so nothing is stored.
    monitored.server.command("ACL SETUSER default -evalsha -eval");
    for _ in 0..3 {
        monitored.flusher.finish().await.unwrap_err();
        monitored.service.get("/accounts/alice").await;
    }
    monitored.server.command("ACL SETUSER default +evalsha +eval");
    let statistics = monitored.flushed("").await;
    let gets = of_operation(&statistics, "accounts/get");
    assert_eq!([&gets["count"], &gets["succeeded"], &gets["failed"]], [4, 1, 3]);
    assert_eq!(of_operation(&statistics, "accounts/transfer")["count"], 2);
}

#[tokio::test]
async fn the_last_flush_whose_reply_is_lost_counts_once() {
    let mut monitored = Monitored::new();
    let relay = crate::support::Relay::to(&monitored.server).await;
    let service = crate::support::Service::with(|settings| settings.url = relay.url.clone());
    let mut flusher =
        lockstep::monitoring::Flusher::new(service.store.clone(), service.statistics.clone());
    service.open("alice", "1").await;
    flusher.finish().await.unwrap();
    for _ in 0..20 {
        service.get("/accounts/alice").await.assert(200);
        relay.cut().await;
        // Lost or not, the next one has it.
        let _ = flusher.flush().await;
    }
    flusher.finish().await.unwrap();
    let gets = of_operation(&monitored.flushed("").await, "accounts/get");
    assert_eq!(gets["count"], 20);
}

#[tokio::test]
async fn nothing_is_sent_where_nothing_has_changed() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    monitored.flushed("").await;
    let mut connection = monitored.server.connection();
    super::super::redis_commands::command_calls(&mut connection);
    for _ in 0..5 {
        assert!(!monitored.flusher.flush().await.unwrap());
    }
    let calls = super::super::redis_commands::command_calls(&mut connection);
    assert_eq!(calls.get("EVALSHA"), None, "{calls:?}");
    // A second of any number of calls is one script.
    for _ in 0..50 {
        monitored.service.get("/accounts/alice").await.assert(200);
        monitored.service.get("/accounts/bob/balance").await.assert(200);
    }
    super::super::redis_commands::command_calls(&mut connection);
    assert!(!monitored.flusher.flush().await.unwrap());
    let calls = super::super::redis_commands::command_calls(&mut connection);
    assert_eq!((calls["EVALSHA"], calls["HSET"]), (1, 4), "{calls:?}");
}

#[tokio::test]
async fn a_clock_that_steps_loses_and_doubles_no_call() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    monitored.flushed("").await;
    for step in [3 * HOUR, -3 * HOUR, -2 * HOUR, 2 * HOUR, HOUR, -HOUR] {
        monitored.service.advance_ms(step);
        // The first flush after a step learns of it.
        monitored.service.get("/accounts/alice").await.assert(200);
        monitored.flusher.finish().await.unwrap();
        monitored.service.get("/accounts/alice").await.assert(200);
        monitored.flusher.finish().await.unwrap();
    }
    monitored.service.advance_ms(4 * HOUR);
    let statistics = monitored.flushed("?hours=24").await;
    assert_eq!(of_operation(&statistics, "accounts/get")["count"], 12);
    assert_eq!(statistics["total"]["count"], 16);
}

#[tokio::test]
async fn statistics_share_a_tag_with_a_space_of_that_name_and_nothing_else() {
    let mut monitored = Monitored::new();
    monitored.service = monitored.service.in_space("monitoring");
    monitored.pay().await;
    monitored.flushed("").await;
    assert_eq!(monitored.service.balance("alice").await, "9.00");
    let failures = monitored.service.get("/monitoring/failures").await.assert(200);
    assert_eq!(failures["failures"][0]["ids"], json!({ "account_id": "alice" }));
    let integrity = monitored.service.get("/accounts/integrity").await.assert(200);
    assert_eq!(integrity["currencies"][0]["ok"], true, "{integrity:#}");
}
