use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redis::Commands;
use serde_json::{Value, json};

use crate::support::{Service, race};

async fn check(service: &Service) -> Value {
    service.get("/accounts/integrity").await.assert(200)["currencies"].take()
}

#[tokio::test]
async fn the_balances_of_each_currency_add_up_to_zero() {
    let service = Service::new();
    assert_eq!(check(&service).await, json!([]));
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    let body = json!({ "account_id": "kenji", "currency": "JPY", "initial_balance": "500" });
    service.post("/accounts", body).await.assert(201);
    service.held("alice", "bob", "7").await;
    service.held("alice", "bob", "0.50").await;
    let usd = json!({
        "currency": "USD", "accounts": 2, "sum": "0.00", "held": "7.50", "ok": true, "unchecked": 0
    });
    let jpy = json!({
        "currency": "JPY", "accounts": 1, "sum": "0", "held": "0", "ok": true, "unchecked": 0
    });
    assert_eq!(check(&service).await, json!([jpy, usd]));
    service.advance_ms(3_600_000);
    assert_eq!(check(&service).await[1]["held"], "0.00");
}

#[tokio::test]
async fn detects_a_changed_balance() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.edit_account("alice", |record| record["credits"] = "10001".into());
    let usd = check(&service).await[0].clone();
    assert_eq!((&usd["sum"], &usd["ok"]), (&json!("0.01"), &json!(false)));
}

#[tokio::test]
async fn detects_a_deleted_hold() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    service.held("alice", "bob", "7").await;
    let () = service.raw().del(service.key("account_holds", "alice")).unwrap();
    let usd = check(&service).await[0].clone();
    assert_eq!((&usd["sum"], &usd["ok"]), (&json!("0.00"), &json!(false)));
}

#[tokio::test]
async fn more_than_two_thousand_holds_are_not_checked() {
    let service = Service::new();
    service.open("alice", "100").await;
    let mut add = redis::cmd("ZADD");
    add.arg(service.key("account_holds", "alice"));
    for number in 0..2001 {
        add.arg(9e15).arg(format!("0:hold_{number}"));
    }
    add.exec(&mut service.raw()).unwrap();
    let usd = check(&service).await[0].clone();
    assert_eq!((&usd["ok"], &usd["unchecked"]), (&json!(true), &json!(1)));
}

/// The check takes several steps with so many accounts, and money moves between any two of them.
#[tokio::test(flavor = "multi_thread")]
async fn is_exact_while_money_moves() {
    let service = Service::new();
    for account in 0..350 {
        service.open(&format!("a{account}"), "100").await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = race(8, |task| {
        let (service, stop) = (service.clone(), stop.clone());
        async move {
            let mut moved = 0;
            while !stop.load(Ordering::Relaxed) {
                moved += 1;
                let (one, other) = (task * 37 + moved * 11, task * 53 + moved * 101);
                let [one, other] = [one, other].map(|number| format!("a{}", number % 350));
                match moved % 3 {
                    0 => drop(service.transfer(&one, &other, "0.01").await),
                    1 => drop(service.deposit(&one, "0.01").await),
                    _ => drop(service.withdraw(&one, "0.01").await),
                }
            }
            moved
        }
    });
    for _ in 0..30 {
        let usd = check(&service).await[0].clone();
        assert_eq!(
            (&usd["sum"], &usd["ok"], &usd["accounts"]),
            (&json!("0.00"), &json!(true), &json!(350))
        );
    }
    stop.store(true, Ordering::Relaxed);
    assert!(tasks.await.into_iter().sum::<usize>() > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trimmed_log_is_no_false_alarm() {
    let service = Service::new();
    service.open("alice", "100").await;
    let log = service.key("postings", "alice");
    // This log looks as if its beginning had been trimmed since the check began, at the shortest history.
    let mut entry: Vec<u8> = service.raw().lindex(&log, 0).unwrap();
    // Two bytes and two numbers come before the instant.
    entry[18..26].copy_from_slice(&9e15_f64.to_le_bytes());
    let () = service.raw().del(&log).unwrap();
    let () = service.raw().rpush(&log, vec![entry; 100]).unwrap();
    service.edit_account("alice", |record| record["postings"] = 101.0.into());
    let refused = service.get("/accounts/integrity").await.expect_problem(503, "store_busy");
    assert!(refused["detail"].as_str().unwrap().contains("--history"));
}
