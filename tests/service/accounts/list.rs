use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Paging, Service, assert_rejects_invalid_paging, pages};

async fn ids(service: &Service, query: &str) -> Vec<Vec<String>> {
    let id = |account: Value| account["account_id"].as_str().unwrap().to_owned();
    let pages = pages(service, &format!("/accounts?{query}"), "accounts").await;
    pages.into_iter().map(|page| page.into_iter().map(id).collect()).collect()
}

#[tokio::test]
async fn each_entry_equals_the_answer_of_get() {
    let service = Service::new();
    assert_eq!(service.get("/accounts").await.assert(200), json!({ "accounts": [] }));
    let body = json!({
        "account_id": "alice", "initial_balance": "10", "max_balance": "50", "metadata": { "a": "\"" }
    });
    service.post("/accounts", body).await.assert(201);
    service.open("hotel", "0").await;
    service.held("alice", "hotel", "4").await;
    let answer = service.get("/accounts").await.assert(200);
    let mut alice = service.get("/accounts/alice").await.assert(200);
    alice.as_object_mut().unwrap().remove("recent_transactions");
    assert_eq!(answer["accounts"][0], alice);
    assert_eq!(answer["accounts"][0]["available"], "6.00");
    service.advance_ms(3_600_000);
    assert_eq!(service.get("/accounts").await.assert(200)["accounts"][0]["available"], "10.00");
}

#[tokio::test]
async fn pages_contain_each_account_once_in_order() {
    let service = Service::new();
    let names = ["a", "a-1", "a.b", "a:1", "a@b", "A", "B", "Z9", "a1", "ab", "b", "z", "0"];
    for name in names {
        service.open(name, "0").await;
    }
    let sorted: Vec<_> = BTreeSet::from(names).into_iter().map(str::to_owned).collect();
    for limit in [1, 2, 3, 12, 13, 14, 500] {
        let pages = ids(&service, &format!("limit={limit}")).await;
        assert_eq!(pages.concat(), sorted, "limit {limit}");
        assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == limit), "{pages:?}");
        assert!(!pages[pages.len() - 1].is_empty(), "{pages:?}");
    }
}

#[tokio::test]
async fn filters_by_status_and_currency() {
    let service = Service::new();
    for number in 0..12 {
        let currency = if number % 3 == 0 { "EUR" } else { "USD" };
        let body = json!({ "account_id": format!("a{number:02}"), "currency": currency });
        service.post("/accounts", body).await.assert(201);
    }
    for account in ["a01", "a03"] {
        service.freeze(account, "debits").await;
    }
    service.close("a02").await.assert(200);
    for limit in [1, 2, 5, 50] {
        let ids =
            async |query: &str| ids(&service, &format!("{query}&limit={limit}")).await.concat();
        assert_eq!(ids("status=frozen").await, ["a01", "a03"]);
        assert_eq!(ids("status=closed").await, ["a02"]);
        assert_eq!(ids("status=open").await.len(), 9);
        assert_eq!(ids("currency=EUR").await, ["a00", "a03", "a06", "a09"]);
        assert_eq!(ids("currency=EUR&status=open").await, ["a00", "a06", "a09"]);
        assert!(ids("currency=JPY").await.is_empty());
    }
}

#[tokio::test]
async fn rejects_invalid_paging() {
    let service = Service::new();
    assert_rejects_invalid_paging(&service, "/accounts", Paging::Ids, &["status=gone", "status="])
        .await;
}
