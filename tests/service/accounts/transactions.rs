use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Paging, Service, assert_rejects_invalid_paging};

#[tokio::test]
async fn pages_contain_each_entry_once_while_new_ones_arrive() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    for cents in 1..=23 {
        service.transfer("alice", "bob", &format!("0.{cents:02}")).await.assert(201);
    }
    let mut seen = Vec::new();
    let mut path = "/accounts/bob/transactions?limit=5".to_owned();
    loop {
        let page = service.get(&path).await.assert(200);
        for entry in page["transactions"].as_array().unwrap() {
            seen.push(entry["amount"].as_str().unwrap().to_owned());
        }
        // A transfer arrives between every two pages.
        service.transfer("alice", "bob", "1").await.assert(201);
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/accounts/bob/transactions?limit=5&cursor={cursor}");
    }
    let expected: Vec<_> = (1..=23).rev().map(|cents| format!("0.{cents:02}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_empty_account_has_an_empty_page() {
    let service = Service::new();
    service.open("alice", "0").await;
    let page = service.get("/accounts/alice/transactions").await.assert(200);
    assert_eq!((&page["transactions"], page.get("next_cursor")), (&json!([]), None));
    let account = service.get("/accounts/alice").await.assert(200);
    assert_eq!(page["history_begins_at"], account["created_at"]);
    assert_eq!(page["history_complete"], true);
}

#[tokio::test]
async fn ids_are_all_different_and_sort_by_time() {
    let service = Service::new();
    service.open("alice", "1").await;
    service.open("bob", "0").await;
    for _ in 0..9 {
        service.transfer("alice", "bob", "0.01").await.assert(201);
    }
    let page = service.get("/accounts/bob/transactions?limit=500").await.assert(200);
    let ids: Vec<_> = page["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|it| it["transaction_id"].to_string())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 9);
    assert!(ids.is_sorted(), "{ids:?}");
}

#[tokio::test]
async fn rejects_invalid_paging() {
    let service = Service::new();
    service.open("alice", "0").await;
    assert_rejects_invalid_paging(&service, "/accounts/alice/transactions", Paging::Numbers, &[])
        .await;
    service.get("/accounts/nobody/transactions").await.expect_problem(404, "account_not_found");
}

#[tokio::test]
async fn a_cursor_past_the_newest_begins_at_the_newest() {
    let service = Service::new();
    service.open("alice", "1").await;
    let page = service.get("/accounts/alice/transactions?cursor=900").await.assert(200);
    assert_eq!(page["transactions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn says_where_the_history_begins() {
    let service = Service::with(|settings| settings.retention.history = 100);
    service.open("alice", "0").await;
    for number in 1..=358 {
        let body = json!({
            "account_id": "alice", "amount": "1", "description": number.to_string()
        });
        service.post("/accounts/deposit", body).await.assert(201);
        if number == 356 {
            let page = service.get("/accounts/alice/transactions").await.assert(200);
            assert_eq!(page["history_complete"], true, "nothing is trimmed yet");
        }
    }
    let mut descriptions = Vec::new();
    let mut path = "/accounts/alice/transactions?limit=30".to_owned();
    let oldest = loop {
        let page = service.get(&path).await.assert(200);
        assert_eq!(page["history_complete"], false);
        let lines = page["transactions"].as_array().unwrap();
        descriptions.extend(lines.iter().map(|line| line["description"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else {
            assert_eq!(page["history_begins_at"], lines[lines.len() - 1]["created_at"]);
            break lines[lines.len() - 1].clone();
        };
        path = format!("/accounts/alice/transactions?limit=30&cursor={cursor}");
    };
    let expected: Vec<_> = (258..=358).rev().map(|number| json!(number.to_string())).collect();
    assert_eq!(descriptions, expected);
    assert_eq!(oldest["balance_after"], "258.00");
}

/// Amounts of 10^15 minor units and more are stored as digits; a balance below zero keeps its sign there.
#[tokio::test]
async fn a_large_balance_below_zero_keeps_its_sign() {
    let service = Service::new();
    let body = json!({ "account_id": "alice", "overdraft_limit": "40000000000000.00" });
    service.post("/accounts", body).await.assert(201);
    service.open("bob", "0").await;
    let mut expected = Vec::new();
    for (amount, balance) in [
        ("15000000000000.01", "-15000000000000.01"),
        ("0.02", "-15000000000000.03"),
        ("1000000000000.00", "-16000000000000.03"),
    ] {
        service.transfer("alice", "bob", amount).await.assert(201);
        expected.insert(0, (amount.to_owned(), balance.to_owned()));
    }
    let page = service.get("/accounts/alice/transactions").await.assert(200);
    let text = |entry: &serde_json::Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let entries = page["transactions"].as_array().unwrap().iter();
    let entries: Vec<_> =
        entries.map(|entry| (text(entry, "amount"), text(entry, "balance_after"))).collect();
    assert_eq!(entries, expected);
}
