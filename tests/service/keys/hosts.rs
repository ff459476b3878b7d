//! A service on loopback without keys answers for its own hosts only, and pages may call it only where that is allowed.

use axum::{body::Body, http::Request};
use lockstep::auth::CallerKey;

use crate::support::{Answer, Process, redis_url};

async fn ask(process: &Process, method: &str, headers: &[(&str, &str)]) -> Answer {
    let uri = format!("http://{}/counters/c", process.address);
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    process.send(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_foreign_host_or_page_is_refused() {
    let process = Process::start(&["--redis-url", redis_url(), "--allow-host", "pay.example"]);
    for host in ["localhost", "127.0.0.1:1", "[::1]", "pay.example", "a.localhost:80"] {
        ask(&process, "GET", &[("host", host)]).await.assert(200);
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1"] {
        let refused = ask(&process, "GET", &[("host", host)]).await;
        assert_eq!(refused.expect_problem(403, "host_not_allowed")["host"], host);
    }
    for origin in ["http://localhost:3000", "https://pay.example"] {
        ask(&process, "GET", &[("origin", origin)]).await.assert(200);
    }
    for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example"] {
        let refused = ask(&process, "DELETE", &[("origin", origin)]).await;
        refused.expect_problem(403, "origin_not_allowed");
    }
    // Nothing lets a page read the answer.
    let answer = ask(&process, "GET", &[("origin", "http://localhost:3000")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn any_host_will_do_where_that_is_said_or_callers_have_keys() {
    let any = Process::start(&["--redis-url", redis_url(), "--allow-host", "*"]);
    ask(&any, "GET", &[("host", "evil.example")]).await.assert(200);
    let key = CallerKey::generate().unwrap();
    let digest = key.digest().to_string();
    let keyed = Process::start(&["--redis-url", redis_url(), "--root-key-sha256", &digest]);
    let answer = ask(&keyed, "GET", &[("host", "pay.example")]).await;
    answer.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call_the_service() {
    let origin = "https://app.example";
    let process = Process::start(&["--redis-url", redis_url(), "--cors-origin", origin]);
    let answer = ask(&process, "GET", &[("origin", origin)]).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("retry-after"));
    answer.assert(200);
    let asked = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,idempotency-key"),
    ];
    let preflight = ask(&process, "OPTIONS", &asked).await;
    assert_eq!(preflight.status, 200);
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("authorization"));
    let foreign = ask(&process, "GET", &[("origin", "https://evil.example")]).await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    foreign.expect_problem(403, "origin_not_allowed");
}
