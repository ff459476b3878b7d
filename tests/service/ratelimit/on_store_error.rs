//! What checks are told while the store does not answer, by what their policies say.

use std::time::Duration;

use lockstep::{
    ratelimit::{PolicyCheck, decide, follow_policies},
    store::Context,
    types::{Id, LimitKey},
};
use serde_json::{Value, json};

use super::{DAY, put};
use crate::support::{Answer, Call, Server, Service, operation};

/// A service that knows the policies `allow`, `deny`, `error` and `counting` (which counts only, and would deny), on a
/// server of its own.
async fn known() -> (Server, Service) {
    let server = Server::start(&[]);
    let service = service_on(&server).await;
    // One that only counts tells nothing of being known; it is read no later than those that are checked after it.
    put(&service, "counting", &rule("deny", true)).await.assert(201);
    check(&service, "counting").await.assert(200);
    for name in ["allow", "deny", "error"] {
        put(&service, name, &rule(name, false)).await.assert(201);
        learn(&service, name).await;
    }
    (server, service)
}

async fn service_on(server: &Server) -> Service {
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.timeout = Duration::from_millis(400);
    });
    tokio::spawn(follow_policies(service.store.clone()));
    service
}

pub(super) fn rule(on_store_error: &str, shadow: bool) -> Value {
    json!({
        "algorithm": "fixed_window", "limit": 5, "window_ms": 25 * DAY, "on_store_error": on_store_error,
        "shadow": shadow
    })
}

/// Has the service know a policy. It remembers denials only under policies that it knows.
pub(super) async fn learn(service: &Service, policy: &str) {
    let body = json!({ "policy": policy, "key": "probe", "cost": 5 });
    for _ in 0..20_000 {
        let answer = service.post("/ratelimit", body.clone()).await;
        if answer.body["decided_by"] == "local" {
            return;
        }
    }
    panic!("{policy} is not known");
}

fn check(service: &Service, policy: &str) -> Call {
    service.post("/ratelimit", json!({ "policy": policy, "key": "k" }))
}

#[track_caller]
fn assert_of_store(answer: Answer) {
    let status = answer.status.as_u16();
    assert!([503, 504].contains(&status), "{:#}", answer.body);
    let code = answer.body["code"].as_str().unwrap().to_owned();
    assert!(code.starts_with("store_") || code == "outcome_unknown", "{code}");
    answer.expect_problem(status, &code);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_says_what_to_answer_while_the_server_hangs() {
    let (server, service) = known().await;
    let hanging = server.hang();
    assert_answers_without_store(&service).await;
    drop(hanging);
    assert_decides_again(&service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_says_what_to_answer_while_the_server_cannot_write() {
    let (server, service) = known().await;
    server.command("CONFIG SET maxmemory 1");
    let body = check(&service, "allow").await.assert(200);
    assert_eq!(body["decided_by"], "on_store_error");
    let body = check(&service, "error").await.expect_problem(503, "store_out_of_memory");
    assert_eq!(body["outcome"], "not_applied");
    server.command("CONFIG SET maxmemory 0");
    assert_decides_again(&service).await;
}

async fn assert_answers_without_store(service: &Service) {
    let answer = check(service, "allow").await;
    let seconds = 25 * DAY / 1000;
    let policy = format!("\"allow\";q=5;w={seconds}");
    assert_eq!(answer.header("ratelimit-policy"), Some(policy.as_str()));
    assert_eq!(answer.header("ratelimit"), None, "nothing was counted");
    assert_eq!(
        answer.assert(200),
        json!({
            "key": "k", "policy": "allow", "allowed": true, "limit": 5, "remaining": 0,
            "retry_after_ms": 0, "reset_after_ms": 0, "cost": 1, "decided_by": "on_store_error"
        })
    );
    let answer = check(service, "deny").await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("ratelimit"), Some("\"deny\";r=0;t=1"));
    let denied = answer.expect_problem(429, "rate_limited");
    assert_eq!(
        (&denied["decided_by"], &denied["allowed"], &denied["retry_after_ms"]),
        (&json!("on_store_error"), &json!(false), &json!(1000))
    );
    assert!(denied["detail"].as_str().unwrap().contains("the policy deny denies"), "{denied}");
    let mut quiet = json!({ "policy": "deny", "key": "k", "on_deny": "200" });
    let body = service.post("/ratelimit", quiet.take()).await.assert(200);
    assert_eq!((&body["allowed"], &body["decided_by"]), (&json!(false), &json!("on_store_error")));
    let body = check(service, "counting").await.assert(200);
    assert_eq!((&body["allowed"], &body["shadow_denied"]), (&json!(true), &json!(true)));
    let dear = json!({ "policy": "counting", "key": "k", "cost": 6 });
    let body = service.post("/ratelimit", dear).await.assert(200);
    assert_eq!((&body["allowed"], &body["shadow_denied"]), (&json!(true), &json!(true)));
    // The limit is known too.
    let dear = json!({ "policy": "allow", "key": "k", "cost": 6 });
    let refused = service.post("/ratelimit", dear).await.expect_problem(422, "cost_exceeds_limit");
    assert_eq!(refused["errors"][0]["pointer"], "/cost");

    assert_store_alone_can_answer(service).await;
    assert_several_without_store(service).await;
    assert_envoy_without_store(service).await;

    let peeked = service.get("/ratelimit/peek?policy=deny&key=k").await.assert(200);
    assert_eq!(
        (&peeked["allowed"], &peeked["retry_after_ms"], &peeked["decided_by"]),
        (&json!(false), &json!(1000), &json!("on_store_error"))
    );
    let peeked = service.get("/ratelimit/peek?policy=allow&key=k").await.assert(200);
    assert_eq!(peeked["allowed"], true);
    let passed = service.get("/ratelimit/authorize?policy=allow&key=k").await;
    assert_eq!(passed.status, 204);
    let stopped = service.get("/ratelimit/authorize?policy=deny&key=k&deny_status=403").await;
    assert_eq!((stopped.status.as_u16(), stopped.header("retry-after")), (403, Some("1")));
}

/// What has a record in the store, or happens there together with something else, waits for the store.
async fn assert_store_alone_can_answer(service: &Service) {
    assert_of_store(check(service, "error").await);
    assert_of_store(check(service, "allow").key("once").await);
    let guard = "lock=l;token=1769860800000000";
    assert_of_store(check(service, "allow").header("lockstep-guard", guard).await);
    assert_of_store(check(service, "never-seen").await);
    assert_of_store(check(&service.in_new_space(), "allow").await);
    let own = json!({ "key": "k", "capacity": 5, "refill_tokens": 1, "refill_interval_ms": DAY });
    assert_of_store(service.post("/ratelimit", own).await);
    let input = json!({ "policy": "allow", "key": "k" });
    let step = operation("ratelimit/check", input.clone());
    assert_of_store(service.atomic(&[step.clone(), step]).await);
    assert_of_store(service.post("/ratelimit/refund", input.clone()).await);
    assert_of_store(service.post("/ratelimit/reset", input).await);
}

async fn assert_several_without_store(service: &Service) {
    let several = |policies: &[&str]| {
        let one = |policy: &&str| json!({ "policy": policy, "key": "k" });
        let checks: Vec<Value> = policies.iter().map(one).collect();
        service.post("/ratelimit/check-all", json!({ "checks": checks }))
    };
    let body = several(&["allow", "counting"]).await.assert(200);
    assert_eq!(body["allowed"], true);
    assert_eq!(body["results"][1]["decided_by"], "on_store_error");
    let answer = several(&["allow", "deny", "counting"]).await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    let denied = answer.expect_problem(429, "rate_limited");
    let violations = denied["violations"].as_array().unwrap();
    assert_eq!((violations.len(), &violations[0]["index"]), (1, &json!(1)), "{denied}");
    assert_eq!(
        (&denied["policy"], &denied["decided_by"]),
        (&json!("deny"), &json!("on_store_error"))
    );
    // One whose answer only the store has is enough.
    assert_of_store(several(&["allow", "error"]).await);
    let dear = json!({ "checks": [
        { "policy": "allow", "key": "k" }, { "policy": "allow", "key": "k", "cost": 6 }
    ] });
    let refused = service.post("/ratelimit/check-all", dear).await;
    let refused = refused.expect_problem(422, "cost_exceeds_limit");
    assert_eq!(refused["errors"][0]["pointer"], "/checks/1/cost");
}

/// The rate limit service of Envoy decides through this function.
async fn assert_envoy_without_store(service: &Service) {
    let context = Context::of_space(Id::try_from(service.space.clone()).unwrap());
    let decided = async |policies: &[&str]| {
        let one = |policy: &&str| PolicyCheck {
            policy: Id::try_from((*policy).to_owned()).unwrap(),
            key: LimitKey::try_from("k".to_owned()).unwrap(),
            cost: 1,
        };
        decide(&service.store, &context, policies.iter().map(one).collect()).await
    };
    for policies in [&["allow"][..], &["allow", "counting"]] {
        let open = decided(policies).await.unwrap();
        assert!(open.allowed && open.states.len() == policies.len(), "{open:?}");
        assert!(open.states.iter().all(|(_, state)| state.left.is_none()), "{open:?}");
    }
    for (policies, index) in [(&["deny"][..], 0), (&["allow", "deny"], 1)] {
        let denied = decided(policies).await.unwrap();
        assert!(!denied.allowed, "{denied:?}");
        let [(place, state)] = &denied.states[..] else { panic!("{denied:?}") };
        assert_eq!((*place, state.left.unwrap().effective_ms), (index, 1000));
    }
    for policies in [&["error"][..], &["allow", "error"]] {
        let problem = decided(policies).await.unwrap_err();
        assert!([503, 504].contains(&problem.status().as_u16()), "{problem:?}");
    }
}

/// The store decides again, and nothing was counted meanwhile that it has not counted.
async fn assert_decides_again(service: &Service) {
    for policy in ["allow", "deny"] {
        let mut decided = Value::Null;
        for _ in 0..200_000 {
            let answer = check(service, policy).await;
            if answer.status == 200 && answer.body.get("decided_by").is_none() {
                decided = answer.assert(200);
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(decided["remaining"].as_u64().is_some_and(|left| left <= 4), "{policy}: {decided}");
    }
}

/// A change through another process is known here, and so is a policy's end.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_other_processes_are_followed() {
    let (server, service) = known().await;
    let other = service_on(&server).await.in_space(&service.space);
    put(&other, "allow", &rule("deny", false)).await.assert(200);
    other.delete("/ratelimit/policies/counting").await.assert(200);
    for _ in 0..200 {
        let hanging = server.hang();
        let (changed, deleted) =
            (check(&service, "allow").await, check(&service, "counting").await);
        drop(hanging);
        if changed.status == 429 && deleted.status != 200 {
            assert_of_store(deleted);
            return;
        }
        // The next round begins when the store decides again, and the policies have been read once more.
        for _ in 0..200_000 {
            if check(&service, "deny").await.body["decided_by"] != "on_store_error" {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    panic!("the change is not known");
}
