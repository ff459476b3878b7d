//! The headers of limits, in each form that the service can be set to.

use lockstep::{
    api::{Limits, ShutdownGate},
    app::{self, app},
    ratelimit::HeaderForm,
};
use serde_json::{Value, json};

use super::{put, rules};
use crate::support::{Answer, Service, operation};

const ALL: [&str; 5] = [
    "ratelimit-policy",
    "ratelimit",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

fn in_form(limit_headers: HeaderForm) -> Service {
    let mut service = Service::new();
    let shape = app::RouterSettings {
        limit_headers,
        body_limit_bytes: 262_144,
        ..app::RouterSettings::default()
    };
    let gate = ShutdownGate::new(Limits::default());
    service.set_router(app(service.store.clone(), gate, &shape));
    service
}

/// Answers of everything that checks the policy `p`: the first allows, all others deny.
async fn answers(service: &Service) -> Vec<Answer> {
    let check = json!({ "policy": "p", "key": "k", "cost": 3 });
    let mut quiet = check.clone();
    quiet["on_deny"] = "200".into();
    let step = operation("ratelimit/check", check.clone());
    let counter = operation("counters/increment", json!({ "counter": "c" }));
    let several = json!({ "checks": [check] });
    let steps = operation("ratelimit/check_all", several.clone());
    vec![
        service.post("/ratelimit", check.clone()).await,
        service.post("/ratelimit", check).await,
        service.post("/ratelimit", quiet).await,
        service.post("/ratelimit/check-all", several).await,
        service.atomic(&[counter.clone(), step]).await,
        service.atomic(&[counter, steps]).await,
        service.get("/ratelimit/peek?policy=p&key=k&cost=3").await,
        service.get("/ratelimit/authorize?policy=p&key=k&cost=3").await,
        service.get("/ratelimit/authorize?policy=p&key=k&cost=3&deny_status=401").await,
    ]
}

fn named<'a>(answer: &'a Answer, names: &[&'a str]) -> Vec<&'a str> {
    names.iter().filter(|name| answer.header(name).is_some()).copied().collect()
}

#[tokio::test]
async fn every_answer_of_a_check_has_the_headers_of_the_form() {
    for (form, expected) in
        [(HeaderForm::Draft, &ALL[..2]), (HeaderForm::Legacy, &ALL[2..]), (HeaderForm::Off, &[])]
    {
        let service = in_form(form);
        put(&service, "p", &rules(5)[3]).await.assert(201);
        for (number, answer) in answers(&service).await.into_iter().enumerate() {
            assert_eq!(named(&answer, &ALL), expected, "{form:?}, answer {number}");
            let header = |name: &str| answer.header(name).unwrap();
            let (remaining, time) = match form {
                HeaderForm::Off => continue,
                HeaderForm::Draft => {
                    assert_eq!(header("ratelimit-policy"), "\"p\";q=5;w=2160000");
                    let state = header("ratelimit").strip_prefix("\"p\";r=").unwrap();
                    state.split_once(";t=").unwrap()
                }
                HeaderForm::Legacy => {
                    assert_eq!(header("x-ratelimit-limit"), "5");
                    (header("x-ratelimit-remaining"), header("x-ratelimit-reset"))
                }
            };
            assert_eq!(remaining, "2");
            assert!(time.parse::<u64>().unwrap() > 0);
            if let Some(wait) = answer.header("retry-after") {
                assert_eq!(wait, time, "answer {number}");
            }
            let is_denied = answer.status.as_u16() >= 400;
            assert_eq!(answer.header("retry-after").is_some(), is_denied, "answer {number}");
        }
        // What is no check has none of them.
        let other = service.get("/ratelimit/policies/p").await;
        assert!(named(&other, &ALL).is_empty());
        let refused = service.post("/ratelimit", json!({ "policy": "q", "key": "k" })).await;
        assert!(named(&refused, &ALL).is_empty());
    }
}

#[tokio::test]
async fn of_several_limits_the_longest_wait_is_told() {
    let service = in_form(HeaderForm::Legacy);
    let window = |key: &str, window_ms: u64| json!({ "key": key, "algorithm": "sliding_window", "limit": 1, "window_ms": window_ms });
    let body = json!({ "checks": [window("a", 90_000_000), window("b", 80_000_000)] });
    let all = || service.post("/ratelimit/check-all", body.clone());
    all().await.assert(200);
    let answer = all().await;
    let (wait, reset) = (answer.header("retry-after"), answer.header("x-ratelimit-reset"));
    assert_eq!(wait, reset);
    let seconds: u64 = wait.unwrap().parse().unwrap();
    assert!((89_000..=90_000).contains(&seconds), "{seconds}");
    let body: Value = answer.expect_problem(429, "rate_limited");
    assert_eq!(body["key"], "a");
}
