//! The question of a gateway, and what its own caller cannot do to it.

use lockstep::store::Library;
use serde_json::{Value, json};

use super::{put, rules};
use crate::support::{Answer, Call, Service, race};

const PATH: &str = "/ratelimit/authorize";

async fn with_policy(limit: u64) -> Service {
    let service = Service::new();
    put(&service, "p", &rules(limit)[3]).await.assert(201);
    service
}

#[track_caller]
fn assert_passes(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (204, 0), "{:#}", answer.body);
    assert_eq!(answer.header("ratelimit-policy"), Some("\"p\";q=5;w=2160000"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn takes_from_the_policy_that_query_or_headers_name() {
    let service = with_policy(5).await;
    let by_query = service.get(&format!("{PATH}?policy=p&key=GET%20%2Ffoo&cost=2")).await;
    assert_passes(&by_query);
    assert!(by_query.header("ratelimit").unwrap().starts_with("\"p\";r=3;t="));
    let headers = |call: Call, cost: &str| {
        let call = call.header("lockstep-policy", "p").header("lockstep-key", "GET /foo");
        call.header("lockstep-cost", cost)
    };
    assert_passes(&headers(service.get(PATH), "2").await);
    // A key is UTF-8 there too, and 1 is the cost of what names none.
    let call = service.get(&format!("{PATH}?policy=p")).header("lockstep-key", "ä|::1");
    assert!(call.await.header("ratelimit").unwrap().starts_with("\"p\";r=4;t="));
    let denied = headers(service.get(PATH), "2").await;
    let (wait, state) =
        (denied.header("retry-after").unwrap(), denied.header("ratelimit").unwrap());
    assert_eq!(state, format!("\"p\";r=1;t={wait}"));
    let problem = denied.expect_problem(429, "rate_limited");
    assert_eq!((&problem["key"], &problem["remaining"]), (&json!("GET /foo"), &json!(1)));
}

#[tokio::test]
async fn a_denial_has_the_status_that_the_gateway_understands() {
    let service = with_policy(5).await;
    let ask = |status: &str| service.get(&format!("{PATH}?policy=p&key=k&cost=5{status}"));
    assert_passes(&ask("&deny_status=403").await);
    for (query, status) in
        [("", 429), ("&deny_status=429", 429), ("&deny_status=401", 401), ("&deny_status=403", 403)]
    {
        let answer = ask(query).await;
        assert!(answer.header("retry-after").is_some() && answer.header("ratelimit").is_some());
        let problem = answer.expect_problem(status, "rate_limited");
        assert_eq!(problem["status"], status);
    }
    // Only a denial has it.
    let unknown = service.get(&format!("{PATH}?policy=q&key=k&deny_status=403")).await;
    unknown.expect_problem(404, "policy_not_found");
    ask("&deny_status=200").await.expect_problem(400, "invalid_query");
}

/// What the gateway's caller has sent is passed on by most gateways.
#[tokio::test]
async fn headers_of_the_gateways_caller_change_nothing() {
    let service = with_policy(5).await;
    let ask = || service.get(&format!("{PATH}?policy=p&key=k&cost=5"));
    assert_passes(&ask().key("once").await);
    let before = service.snapshot();
    for (name, value) in [
        ("idempotency-key", "once"),
        ("idempotency-key", "not a key \u{7f}"),
        ("lockstep-guard", "lock=l;token=1"),
        ("lockstep-guard", "nonsense"),
        ("lockstep-policy", "other"),
        ("lockstep-key", "other"),
        ("lockstep-cost", "1"),
        ("if-none-match", "*"),
        ("content-type", "text/plain"),
    ] {
        if value.contains('\u{7f}') {
            continue;
        }
        let answer = ask().header(name, value).await;
        answer.expect_problem(429, "rate_limited");
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_what_no_gateway_means() {
    let service = with_policy(5).await;
    let refuses = async |query: &str, headers: &[(&str, &str)], status: u16, code: &str| {
        let call = service.get(&format!("{PATH}{query}"));
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        call.await.expect_problem(status, code)
    };
    for query in [
        "",
        "?policy=p",
        "?key=k",
        "?policy=p&key=k&cost=0",
        "?policy=p&key=k&cost=x",
        "?policy=p&key=k&units=1",
        "?policy={}&key=k",
        "?policy=p&key=",
        "?policy=p&policy=q&key=k",
    ] {
        refuses(query, &[], 400, "invalid_query").await;
    }
    let bad = [
        (("lockstep-policy", "{}"), "invalid_id"),
        (("lockstep-key", ""), "validation_failed"),
        (("lockstep-cost", "+1"), "validation_failed"),
        (("lockstep-cost", ""), "validation_failed"),
        (("lockstep-cost", "99999999999999999999"), "validation_failed"),
    ];
    for (header, code) in bad {
        let rest = [("lockstep-policy", "p"), ("lockstep-key", "k")];
        let rest = rest.into_iter().filter(|(name, _)| *name != header.0);
        let headers: Vec<_> = rest.chain([header]).collect();
        let refused = refuses("", &headers, 422, code).await;
        assert!(refused["header"].as_str().unwrap().eq_ignore_ascii_case(header.0), "{refused}");
    }
    let twice = [("lockstep-policy", "p"), ("lockstep-key", "k"), ("lockstep-key", "k2")];
    refuses("", &twice, 422, "validation_failed").await;
    let refused = refuses("?policy=p&key=k&cost=6", &[], 422, "cost_exceeds_limit").await;
    assert_eq!(refused["limit"], 5);
    let in_no_space = service.get(&format!("{PATH}?policy=p&key=k"));
    in_no_space.header("lockstep-space", "x").await.expect_problem(422, "invalid_id");
}

/// Envoy sends the method and the path of its caller, and takes nothing but 200 for a yes.
#[tokio::test]
async fn any_method_and_path_below_it_are_answered_200() {
    let service = with_policy(5).await;
    let ask = |method: &str, path: &str| {
        let call = service.call(method, &format!("{PATH}{path}"));
        call.header("lockstep-policy", "p").header("lockstep-key", "k")
    };
    for (method, path) in [
        ("GET", "/"),
        ("POST", "/orders?policy=other&key=x&deny_status=403"),
        ("DELETE", "/orders/1//2"),
        ("OPTIONS", "/*"),
        ("PATCH", "/a/ratelimit/authorize"),
    ] {
        let answer = ask(method, path).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, 0), "{method} {path}");
        assert!(answer.header("ratelimit").is_some());
    }
    ask("PUT", "/orders").await.expect_problem(429, "rate_limited");
    let nameless = service.call("POST", &format!("{PATH}/orders?policy=p&key=k"));
    nameless.await.expect_problem(400, "invalid_query");
}

#[tokio::test]
async fn a_lease_is_told_to_the_one_who_gives_it_back() {
    let service = Service::new();
    put(&service, "p", &rules(1)[4]).await.assert(201);
    let ask = || service.get(&format!("{PATH}?policy=p&key=k"));
    let answer = ask().await;
    assert_eq!(answer.status, 204);
    let lease_id = answer.header("lockstep-lease").unwrap().to_owned();
    ask().await.expect_problem(429, "rate_limited");
    let body = json!({ "policy": "p", "key": "k", "lease_id": lease_id });
    service.post("/ratelimit/release", body).await.assert(200);
    assert_eq!(ask().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_exactly_the_limit() {
    let service = with_policy(50).await;
    let answers = race(400, |_| service.get(&format!("{PATH}?policy=p&key=k"))).await;
    assert_eq!((answers.count(204), answers.count(429)), (50, 350));
}

/// The script is that of a check: there is none of its own.
#[test]
fn has_no_script_of_its_own() {
    assert!(Library::embedded().iter().all(|script| script.name != "ratelimit/authorize"));
    let document: Value = lockstep::app::document("");
    assert_eq!(document["paths"][PATH]["get"]["operationId"], "ratelimit_authorize");
}
