use redis::Commands;
use serde_json::{Value, json};

use super::{Monitored, of_operation};
use crate::support::race;

async fn contention(monitored: &Monitored) -> Value {
    monitored.service.get("/monitoring/contention").await.assert(200)
}

#[tokio::test]
async fn conflicts_are_counted_by_key_and_by_operation() {
    let mut monitored = Monitored::new();
    assert_eq!(contention(&monitored).await["keys"], json!([]));
    let service = monitored.service.clone();
    let call = |number: usize| {
        let operations = [json!({ "type": "incr", "key": "hot", "by": 1 })];
        let guards = [json!({ "key": "calm", "op": "absent" })];
        let body = json!({
            "watch": ["hot"], "guards": guards, "operations": operations, "max_attempts": 10
        });
        service.post("/transactions", body).key(format!("call-{number}"))
    };
    let answers = race(64, call).await;
    let (done, refused) = (answers.count(200), answers.count_code("transaction_conflict"));
    assert_eq!(done + refused, 64);
    // Attempts that met a conflict: all but the last of those that succeeded, and all of those that gave up.
    let attempts: u64 = answers.iter().filter_map(|answer| answer.body["attempts"].as_u64()).sum();
    let conflicts = attempts - done as u64;
    assert!(conflicts > 0, "64 transactions on one key met no conflict");

    let contention = contention(&monitored).await;
    assert_eq!(contention["conflicts"], conflicts);
    let hottest = &contention["keys"][0];
    assert_eq!((&hottest["key"], &hottest["space"]), (&json!("hot"), &json!(service.space)));
    assert_eq!(hottest["conflicts"], conflicts);
    assert_eq!(hottest["hint"].is_string(), conflicts >= 10);
    let statistics = monitored.flushed("").await;
    let transactions = of_operation(&statistics, "transactions/run");
    assert_eq!([&transactions["conflicts"], &transactions["count"]], [conflicts, 64]);
    let value: u64 = monitored
        .server
        .connection()
        .get(format!("lockstep-data:{{{}}}:hot", service.space))
        .unwrap();
    assert_eq!(value, done as u64);
}

#[tokio::test]
async fn takes_no_query() {
    let monitored = Monitored::new();
    monitored.service.get("/monitoring/contention?x=1").await.expect_problem(400, "invalid_query");
}
