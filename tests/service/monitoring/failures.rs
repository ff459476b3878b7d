use redis::Commands;
use serde_json::{Value, json};

use super::Monitored;
use crate::support::HOUR;

async fn list(monitored: &Monitored, query: &str) -> Vec<Value> {
    let answer = monitored.service.get(&format!("/monitoring/failures{query}")).await.assert(200);
    answer["failures"].as_array().unwrap().clone()
}

#[tokio::test]
async fn names_things_by_their_ids_and_tells_no_amounts() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    let body = json!({
        "from_account": "alice", "to_account": "bob", "amount": "123.45",
        "metadata": { "card": "4111" }, "description": "a secret"
    });
    let refused =
        monitored.service.post("/accounts/transfer", body).header("x-request-id", "req-1").await;
    refused.expect_problem(409, "insufficient_funds");
    monitored.flusher.finish().await.unwrap();
    let failures = list(&monitored, "").await;
    assert_eq!(failures.len(), 2);
    let failure = &failures[0];
    assert_eq!(failure["request_id"], "req-1");
    assert_eq!(failure["operation"], "accounts/transfer");
    assert_eq!((&failure["code"], &failure["status"]), (&json!("insufficient_funds"), &json!(409)));
    assert_eq!((&failure["attempts"], &failure["part"]), (&json!(1), &json!("")));
    assert_eq!(failure["outcome"], "not_applied");
    assert_eq!(failure["ids"], json!({ "account_id": "alice" }));
    assert!(failure["duration_ms"].as_f64().unwrap() > 0.0);
    let text = json!(failures).to_string();
    for told in ["123.45", "9.00", "4111", "card", "secret", "USD"] {
        assert!(!text.contains(told), "{told} in {text}");
    }
}

#[tokio::test]
async fn the_newest_come_first_and_filters_choose() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    monitored.flusher.finish().await.unwrap();
    monitored.service.advance_ms(HOUR);
    let service = monitored.service.clone();
    // The first flush after a step of the clock learns of it.
    service.get("/accounts/alice").await.assert(200);
    monitored.flusher.finish().await.unwrap();
    service.get("/accounts/nobody").await.expect_problem(404, "account_not_found");
    service.transfer("nobody", "bob", "1").await.expect_problem(404, "account_not_found");
    monitored.flusher.finish().await.unwrap();

    let all = list(&monitored, "").await;
    let operations: Vec<_> =
        all.iter().map(|failure| failure["operation"].as_str().unwrap()).collect();
    assert_eq!(operations.len(), 3);
    assert_eq!(operations[2], "accounts/transfer");
    let times: Vec<_> = all.iter().map(|failure| failure["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");
    assert_eq!(list(&monitored, "?limit=1").await, all[..1]);
    assert_eq!(list(&monitored, "?code=insufficient_funds").await, all[2..]);
    assert_eq!(list(&monitored, "?operation=accounts/get").await.len(), 1);
    assert_eq!(
        list(&monitored, "?operation=accounts/get&code=insufficient_funds").await,
        [] as [Value; 0]
    );
    assert_eq!(list(&monitored, &format!("?since={}", times[1])).await.len(), 2);
    assert_eq!(list(&monitored, &format!("?since={}&limit=1", times[2])).await, all[..1]);
}

#[tokio::test]
async fn a_thousand_are_kept() {
    let mut monitored = Monitored::new();
    for round in 0..12 {
        for _ in 0..100 {
            let path = format!("/accounts/account-{round}");
            monitored.service.get(&path).await.expect_problem(404, "account_not_found");
        }
        monitored.flusher.finish().await.unwrap();
    }
    let kept = list(&monitored, "?limit=1000").await;
    assert_eq!(kept.len(), 1000);
    let of_round = |round: usize| {
        let id = format!("account-{round}");
        kept.iter().filter(|failure| failure["ids"]["account_id"] == id.as_str()).count()
    };
    assert_eq!(
        (0..12).map(of_round).collect::<Vec<_>>(),
        [0, 0, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100]
    );
    assert_eq!(list(&monitored, "").await.len(), 10);
}

#[tokio::test]
async fn of_one_second_the_first_hundred_are_kept() {
    let mut monitored = Monitored::new();
    for number in 0..150 {
        monitored
            .service
            .get(&format!("/accounts/account-{number}"))
            .await
            .expect_problem(404, "account_not_found");
    }
    monitored.flusher.finish().await.unwrap();
    let kept = list(&monitored, "?limit=1000").await;
    assert_eq!(kept.len(), 100);
    let has = |account: &str| kept.iter().any(|failure| failure["ids"]["account_id"] == account);
    assert!(has("account-0") && has("account-99") && !has("account-100"));
    // None of them is missing in the counts.
    assert_eq!(
        monitored.statistics("").await["total"]["refused"],
        json!({ "account_not_found": 150 })
    );
}

#[tokio::test]
async fn a_line_of_a_stream_is_named() {
    let mut monitored = Monitored::new();
    let line =
        json!({ "operation": "accounts/close", "input": { "account_id": "nobody" } }).to_string();
    let request = axum::http::Request::post("/bulk").header("content-type", "application/x-ndjson");
    monitored.service.send(request.body(format!("{line}\n{line}\n").into()).unwrap()).await;
    monitored.flusher.finish().await.unwrap();
    let parts: Vec<_> =
        list(&monitored, "").await.iter().map(|failure| failure["part"].clone()).collect();
    assert_eq!(parts.len(), 2);
    assert!(parts.contains(&json!("line 0")) && parts.contains(&json!("line 1")), "{parts:?}");
}

#[tokio::test]
async fn rejects_what_is_no_query() {
    let monitored = Monitored::new();
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "since=yesterday",
        "since=",
        "page=1",
        "limit=1&limit=2",
    ] {
        let answer = monitored.service.get(&format!("/monitoring/failures?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        answer.expect_problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_and_counts_go_on() {
    let mut monitored = Monitored::new();
    let mut connection = monitored.server.connection();
    let () = connection.set("lockstep:{monitoring}:failures:newest", "mine").unwrap();
    monitored.service.get("/monitoring/failures").await.expect_problem(500, "internal_error");
    monitored.pay().await;
    // The flush is one script, so nothing of it is stored while it fails; afterwards everything is.
    monitored.flusher.finish().await.unwrap_err();
    assert_eq!(monitored.statistics("").await["total"]["count"], 0);
    let () = connection.del("lockstep:{monitoring}:failures:newest").unwrap();
    assert_eq!(monitored.flushed("").await["total"]["count"], 4);
    assert_eq!(list(&monitored, "").await.len(), 1);
}
