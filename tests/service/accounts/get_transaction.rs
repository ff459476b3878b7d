use redis::Commands;
use serde_json::{Value, json};

use crate::support::Service;

#[tokio::test]
async fn returns_both_sides_and_the_amount() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    let body = json!({
        "from_account": "alice", "to_account": "bob", "amount": "2.5", "description": "a \"b\" \\",
        "metadata": { "order": "17", "description": "x" }
    });
    let paid = service.post("/accounts/transfer", body).await.assert(201);
    let id = paid["transaction_id"].as_str().unwrap();
    let answer = service.get(&format!("/accounts/transactions/{id}")).await.assert(200);
    assert_eq!(
        answer,
        json!({
            "transaction_id": id, "kind": "transfer", "status": "completed",
            "from_account": "alice", "to_account": "bob", "amount": "2.50", "reversed": "0.00",
            "currency": "USD", "hold_id": null, "reverses": null,
            "created_at": paid["created_at"], "description": "a \"b\" \\",
            "metadata": { "order": "17", "description": "x" }
        })
    );
    let ttl: i64 =
        redis::cmd("PTTL").arg(service.transactions_key(id)).query(&mut service.raw()).unwrap();
    // A minute more, for services whose clocks are apart.
    assert!((3_600_000..=3_660_000).contains(&ttl), "it has an end: {ttl}");
}

#[tokio::test]
async fn names_the_external_account_of_deposits_and_withdrawals() {
    let service = Service::new();
    service.open("alice", "5").await;
    for (path, from, to, kind) in [
        ("/accounts/deposit", "external", "alice", "deposit"),
        ("/accounts/withdraw", "alice", "external", "withdrawal"),
    ] {
        let body = json!({ "account_id": "alice", "amount": "1" });
        let moved = service.post(path, body).await.assert(201);
        let path = format!("/accounts/transactions/{}", moved["transaction_id"].as_str().unwrap());
        let answer = service.get(&path).await.assert(200);
        assert_eq!(
            [&answer["from_account"], &answer["to_account"], &answer["kind"]],
            [from, to, kind]
        );
    }
}

/// A record leaves out the fields that most transactions do not have. Earlier versions wrote them all, and such records
/// are read too.
#[tokio::test]
async fn a_record_with_the_usual_values_written_out_is_read() {
    let service = Service::new();
    service.open("alice", "5").await;
    service.open("bob", "0").await;
    let paid = service.transfer("alice", "bob", "2").await.assert(201);
    let id = paid["transaction_id"].as_str().unwrap();
    let (path, hash) = (format!("/accounts/transactions/{id}"), service.transactions_key(id));
    let answer = service.get(&path).await.assert(200);
    assert_eq!([&answer["description"], &answer["metadata"]], [&Value::Null, &json!({})]);

    let mut redis = service.raw();
    let records: Vec<(Vec<u8>, Vec<u8>)> = redis.hgetall(&hash).unwrap();
    let is_paid = |record: &[u8]| record.windows(4).any(|bytes| bytes == b"bob\0");
    let (field, record) = records.iter().find(|(_, record)| is_paid(record)).unwrap();
    // Behind the numbers are the names, and an empty description.
    let (numbers, names) = record.strip_suffix(b"\0").unwrap().split_at(19);
    let (not_reversed, layout) = (0_f64.to_le_bytes(), [1]);
    for texts in [b"\0\0\0".as_slice(), b"\0\0null\0{}"] {
        let written_out = [&layout, &numbers[1..], &not_reversed, names, texts].concat();
        let () = redis.hset(&hash, field, written_out).unwrap();
        assert_eq!(service.get(&path).await.assert(200), answer);
    }
    service.reverse(id, None).await.assert(201);
}

#[tokio::test]
async fn refuses_an_unknown_transaction() {
    let service = Service::new();
    let answer = service.get("/accounts/transactions/tx_none").await;
    answer.expect_problem(404, "transaction_not_found");
    service.get("/accounts/transactions/a%20b").await.expect_problem(422, "invalid_id");
}
