use serde_json::json;

use super::{Monitored, of_operation};
use crate::support::{HOUR, Service, free_port, operation};

#[tokio::test]
async fn counts_successes_refusals_and_durations_of_each_operation() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    let service = monitored.service.clone();
    service.transfer("alice", "bob", "x").await.expect_problem(422, "invalid_amount");
    service.get("/accounts/nobody").await.expect_problem(404, "account_not_found");
    let answer = service.get("/accounts/alice").await;
    let tag = answer.header("etag").unwrap().to_owned();
    answer.assert(200);
    assert_eq!(service.get("/accounts/alice").header("if-none-match", &tag).await.status, 304);

    let statistics = monitored.flushed("").await;
    let transfers = of_operation(&statistics, "accounts/transfer");
    assert_eq!(
        [
            &transfers["count"],
            &transfers["succeeded"],
            &transfers["failed"],
            &transfers["conflicts"]
        ],
        [3, 1, 0, 0]
    );
    assert_eq!(transfers["refused"], json!({ "insufficient_funds": 1, "invalid_amount": 1 }));
    let gets = of_operation(&statistics, "accounts/get");
    assert_eq!([&gets["count"], &gets["succeeded"]], [3, 2]);
    assert_eq!(gets["refused"], json!({ "account_not_found": 1 }));
    assert_eq!(statistics["total"]["count"], 8);
    assert_eq!(statistics["total"]["success_rate"], 5.0 / 8.0);
    let figure = |name: &str| transfers[name].as_f64().unwrap();
    assert!(figure("min_ms") > 0.0);
    let order = ["min_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"].map(figure);
    assert!(order.is_sorted(), "{order:?}");
    assert!((figure("min_ms")..=figure("max_ms")).contains(&figure("mean_ms")));

    let only = monitored.statistics("?operation=accounts/open").await;
    assert_eq!((&only["total"]["count"], only["groups"].as_array().unwrap().len()), (&json!(2), 1));
}

#[tokio::test]
async fn a_store_without_calls_has_no_figures() {
    let monitored = Monitored::new();
    let statistics = monitored.statistics("").await;
    assert_eq!(statistics["groups"], json!([]));
    let total = &statistics["total"];
    assert_eq!((&total["count"], &total["refused"]), (&json!(0), &json!({})));
    for name in ["success_rate", "mean_ms", "min_ms", "max_ms", "p50_ms", "p95_ms", "p99_ms"] {
        assert!(total[name].is_null(), "{name}");
    }
}

#[tokio::test]
async fn calls_that_fail_are_no_refusals() {
    let mut monitored = Monitored::new();
    let away = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{}", free_port());
    });
    away.transfer("alice", "bob", "1").await.expect_problem(503, "store_unavailable");
    // As if the server had come back: what was recorded meanwhile is stored.
    let store = monitored.service.store.clone();
    monitored.flusher = lockstep::monitoring::Flusher::new(store, away.statistics.clone());
    let transfers = of_operation(&monitored.flushed("").await, "accounts/transfer");
    assert_eq!([&transfers["count"], &transfers["failed"], &transfers["succeeded"]], [1, 1, 0]);
    assert_eq!(transfers["refused"], json!({}));
}

#[tokio::test]
async fn lines_of_a_stream_are_calls_and_an_atomic_call_is_one() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    let service = monitored.service.clone();
    let deposit = |amount: &str| json!({ "account_id": "alice", "amount": amount });
    let both =
        [operation("accounts/deposit", deposit("1")), operation("accounts/deposit", deposit("2"))];
    service.atomic(&both).await.assert(200);
    let lines = [
        operation("accounts/deposit", deposit("1")).to_string(),
        operation("accounts/deposit", deposit("0")).to_string(),
        operation("accounts/nothing", json!({})).to_string(),
        "{".to_owned(),
    ];
    let request = axum::http::Request::post("/bulk").header("content-type", "application/x-ndjson");
    let request = request.header("lockstep-space", &service.space);
    let answer = service.send(request.body(lines.join("\n").into()).unwrap()).await;
    assert_eq!(String::from_utf8(answer.bytes).unwrap().lines().count(), 4);

    let statistics = monitored.flushed("?hours=1").await;
    let deposits = of_operation(&statistics, "accounts/deposit");
    assert_eq!([&deposits["count"], &deposits["succeeded"]], [2, 1]);
    assert_eq!(deposits["refused"], json!({ "amount_not_positive": 1 }));
    // A line that names no command counts for the stream.
    let stream = of_operation(&statistics, "bulk/run");
    assert_eq!(stream["refused"], json!({ "malformed_json": 1, "validation_failed": 1 }));
    assert_eq!(of_operation(&statistics, "atomic/run")["count"], 1);
}

#[tokio::test]
async fn calls_of_the_service_itself_are_not_counted() {
    let mut monitored = Monitored::new();
    for path in ["/livez", "/readyz", "/metrics", "/health", "/problems", "/docs/", "/nowhere"] {
        monitored.service.get(path).await;
    }
    assert_eq!(monitored.flushed("").await["total"]["count"], 0);
}

#[tokio::test]
async fn hours_are_told_apart_and_end() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    let first = monitored.flushed("?group_by=hour").await;
    assert_eq!(first["groups"].as_array().unwrap().len(), 1);
    monitored.service.advance_ms(2 * HOUR);
    // The first flush after a step of the clock learns of it, and has this call in the old hour.
    monitored.service.get("/accounts/alice").await.assert(200);
    monitored.flusher.finish().await.unwrap();
    monitored.service.get("/accounts/alice").await.assert(200);
    let both = monitored.flushed("?group_by=hour").await;
    let counts =
        both["groups"].as_array().unwrap().iter().map(|hour| hour["count"].as_u64().unwrap());
    let counts: Vec<_> = counts.collect();
    assert_eq!((counts.iter().sum::<u64>(), counts.last()), (6, Some(&1)));
    let starts: Vec<_> = both["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hour| hour["start"].as_str().unwrap())
        .collect();
    assert!(
        starts.is_sorted() && starts.iter().all(|start| start.ends_with(":00:00.000Z")),
        "{starts:?}"
    );
    // Of the last hour, by minutes.
    assert_eq!(monitored.statistics("?hours=1").await["total"]["count"], 1);
    let by_minute = monitored.statistics("?hours=6&group_by=minute").await;
    assert_eq!(by_minute["total"]["count"], 6);
    // By the minute, six hours are as many as there are without a wish, in this minute or the next one.
    let without_wish = monitored.statistics("?group_by=minute").await;
    let later = monitored.statistics("?hours=6&group_by=minute").await;
    assert!([&by_minute["from"], &later["from"]].contains(&&without_wish["from"]));
    assert_eq!(monitored.statistics("?hours=168").await["total"]["count"], 6);
    monitored.service.advance_ms(25 * HOUR);
    assert_eq!(monitored.statistics("").await["total"]["count"], 0);
    assert_eq!(monitored.statistics("?hours=168").await["total"]["count"], 6);
}

#[tokio::test]
async fn rejects_what_is_no_query() {
    let monitored = Monitored::new();
    for query in [
        "hours=0",
        "hours=169",
        "hours=x",
        "hours=",
        "hours=-1",
        "group_by=day",
        "group_by=",
        "page=1",
        "hours=1&hours=2",
        "hours=7&group_by=minute",
    ] {
        let answer = monitored.service.get(&format!("/monitoring/transactions?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        answer.expect_problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn a_window_that_somebody_has_written_is_reported() {
    let mut monitored = Monitored::new();
    monitored.pay().await;
    monitored.flushed("").await;
    let mut connection = monitored.server.connection();
    let keys = crate::support::all_keys(&mut connection, "lockstep:{monitoring}:calls_*");
    assert_eq!(keys.len(), 2, "{keys:?}");
    let hour = keys.iter().find(|key| key.contains("calls_hour")).unwrap();
    let () = redis::Commands::hset(&mut connection, hour, "a:1:accounts/open", "x").unwrap();
    let answer = monitored.service.get("/monitoring/transactions?hours=168").await;
    answer.expect_problem(500, "internal_error");
}
