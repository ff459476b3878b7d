//! Every operation of the OpenAPI document with every kind of key: the right status, and no effect where it is refused.

use std::collections::BTreeSet;

use axum::{body::Body, http::Request};
use lockstep::{
    app,
    auth::{CallerKey, Scope},
};
use serde_json::{Value, json};

use super::{made, text};
use crate::{
    catalogue::{Seed, Seeded, catalogue},
    support::{Call, Service, operation},
};

/// Keys that let nobody in, each with the reason.
async fn dead_keys(service: &Service) -> Vec<(&'static str, String)> {
    let (expired, disabled, revoked) =
        (made(service).await, made(service).await, made(service).await);
    let path = |key: &Value| format!("/keys/{}", text(key, "key_id"));
    let past = json!({ "expires_at": "2001-01-01T00:00:00Z" });
    service.patch(&path(&expired), past).await.assert(200);
    service.patch(&path(&disabled), json!({ "disabled": true })).await.assert(200);
    let body = json!({ "key_id": revoked["key_id"] });
    service.post("/keys/revoke", body).await.assert(200);
    let known = made(service).await;
    let another_secret = CallerKey::generate_for(text(&known, "key_id")).unwrap();
    let mut dead: Vec<_> = [("expired", expired), ("disabled", disabled), ("revoked", revoked)]
        .into_iter()
        .map(|(why, key)| (why, text(&key, "key").to_owned()))
        .collect();
    dead.push(("unknown", CallerKey::generate().unwrap().text().to_owned()));
    dead.push(("wrong", another_secret.text().to_owned()));
    dead.push(("no key", String::new()));
    dead
}

/// An operation of the document that is no operation of the store: method, path and body of a call.
fn system_calls() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let source = json!({ "source": "#!lua\nreturn 1" });
    let run = json!({ "keys": ["visits"], "args": ["5", "100"] });
    let line = json!({ "operation": "counters/increment", "input": { "counter": "c" } });
    vec![
        ("monitoring_health", "GET", "/health", Value::Null),
        ("monitoring_metrics", "GET", "/metrics", Value::Null),
        ("monitoring_connections", "GET", "/monitoring/connections", Value::Null),
        ("monitoring_contention", "GET", "/monitoring/contention", Value::Null),
        ("monitoring_failures", "GET", "/monitoring/failures", Value::Null),
        ("monitoring_scripts", "GET", "/monitoring/scripts", Value::Null),
        ("monitoring_transactions", "GET", "/monitoring/transactions", Value::Null),
        ("ratelimit_authorize", "GET", "/ratelimit/authorize?policy=api&key=k", Value::Null),
        ("scripts_cache", "GET", "/scripts/cache", Value::Null),
        ("scripts_flush", "POST", "/scripts/flush", Value::Null),
        ("scripts_kill", "POST", "/scripts/kill", Value::Null),
        ("scripts_validate", "POST", "/scripts/validate", source),
        ("scripts_profile", "POST", "/scripts/add-capped/profile", run.clone()),
        ("scripts_trace", "POST", "/scripts/add-capped/trace", run),
        ("bulk_run", "POST", "/bulk", line),
        ("keys_self", "GET", "/keys/self", Value::Null),
        ("cache_stats", "GET", "/cache/stats", Value::Null),
        ("cache_get", "POST", "/cache/get", json!({ "key": "k" })),
        ("cache_read", "GET", "/cache/k", Value::Null),
        (
            "cache_fill",
            "POST",
            "/cache/fill",
            json!({ "key": "k", "lease_token": "none", "value": "v", "ttl_ms": 1000 }),
        ),
        (
            "cache_set",
            "POST",
            "/cache/set",
            json!({ "key": "k", "value": "v", "ttl_ms": 1000, "version": 1 }),
        ),
        ("cache_invalidate", "POST", "/cache/invalidate", json!({ "keys": ["k"] })),
    ]
}

/// A call of every operation in a space that has what it needs.
struct Case {
    id: String,
    seeded: Seeded,
    call: Call,
}

/// The operations that need no key.
const OPEN: [&str; 4] =
    ["monitoring_livez", "monitoring_readyz", "problems_list", "problems_explain"];

async fn cases(service: &Service) -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in catalogue() {
        let needs: Vec<Seed> =
            entry.needs.iter().copied().filter(|seed| !is_of_keys(*seed)).collect();
        let seeded = Seeded::new(service, &needs).await;
        let (mut path, mut body) = (seeded.fill(entry.path), entry.body.clone());
        if entry.name.starts_with("keys/") {
            let key = made(service).await;
            let fill = |text: &str| text.replace("{key_id}", super::text(&key, "key_id"));
            path = fill(&path);
            body = serde_json::from_str(&fill(&body.to_string())).unwrap();
        }
        let call = match body {
            Value::Null => seeded.service.call(entry.method, &path),
            body => {
                let body = serde_json::from_str(&seeded.fill(&body.to_string())).unwrap();
                seeded.service.call(entry.method, &path).json(body)
            }
        };
        cases.push(Case { id: entry.name.replace('/', "_"), seeded, call });
    }
    for (id, method, path, body) in system_calls() {
        let seeded = Seeded::new(service, &[Seed::Policies, Seed::Script]).await;
        let mut call = seeded.service.call(method, path);
        if id == "bulk_run" {
            call = call.json(body).content_type("application/x-ndjson");
        } else if !body.is_null() {
            call = call.json(body);
        }
        cases.push(Case { id: id.to_owned(), seeded, call });
    }
    cases
}

fn is_of_keys(seed: Seed) -> bool {
    [Seed::RootKey, Seed::Key].contains(&seed)
}

/// The scope that the document names for an operation; `None` where any key will do.
fn scope_of(document: &Value, id: &str) -> Option<String> {
    let methods = document["paths"].as_object().unwrap().values();
    let mut operations = methods.flat_map(|methods| methods.as_object().unwrap().values());
    let operation = operations.find(|operation| operation["operationId"] == id).unwrap();
    let scope = operation["security"][0]["callerKey"][0].as_str();
    if let Some(scope) = scope {
        let description = operation["description"].as_str().unwrap();
        assert!(description.contains(&format!("`{scope}`")), "{description}");
    }
    scope.map(str::to_owned)
}

#[tokio::test]
async fn every_operation_asks_for_the_right_key() {
    let root = Service::with_keys().await;
    let everything = root.make_key(&["*"], &["*"]).await;
    let elsewhere = root.make_key(&["*"], &["elsewhere", "other-*"]).await;
    let dead = dead_keys(&root).await;
    let document = app::document("");
    let cases = cases(&root.as_caller(&everything)).await;
    let mut known: BTreeSet<String> = OPEN.map(str::to_owned).into();
    for Case { id, seeded, call } in cases {
        known.insert(id.clone());
        let service = &seeded.service;
        let (before, keys_before) = (service.snapshot(), root.snapshot());
        for (why, key) in &dead {
            let call = match key.as_str() {
                "" => call.clone().without_caller_key(),
                key => call.clone().with_caller_key(key),
            };
            let answer = call.await;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{id} {why}");
            answer.expect_problem(401, "unauthenticated");
        }
        let scope = scope_of(&document, &id);
        if let Some(scope) = &scope {
            let others: Vec<&str> =
                Scope::names().iter().copied().filter(|other| other != scope).collect();
            let key = root.make_key(&others, &["*"]).await;
            let keys_before = root.snapshot();
            let refused = call.clone().with_caller_key(&key).await;
            let refused = refused.expect_problem(403, "insufficient_scope");
            assert_eq!(refused["required"], **scope, "{id}");
            assert_same(&keys_before, &root.snapshot(), &id);
        }
        let has_space = !["keys_", "monitoring_"].iter().any(|domain| id.starts_with(domain));
        if has_space {
            let refused = call.clone().with_caller_key(&elsewhere).await;
            refused.expect_problem(403, "space_not_allowed");
        }
        service.assert_unchanged(&before);
        if scope.is_none() {
            assert_same(&keys_before, &root.snapshot(), &id);
        }
        let spaces = match ["scripts_flush", "scripts_kill"].contains(&id.as_str()) {
            true => "*",
            false => &service.space,
        };
        let scope = scope.as_deref().unwrap_or("*");
        let key = root.make_key(&[scope], &[spaces]).await;
        let answer = call.clone().with_caller_key(&key).await;
        // A cache that has nothing answers so.
        let is_refused = answer.status.is_client_error() && !id.starts_with("cache_");
        assert!(
            !is_refused && ![401, 403].contains(&answer.status.as_u16()),
            "{id}: {:#}",
            answer.body
        );
    }
    let methods = document["paths"].as_object().unwrap().values();
    let ids = methods.flat_map(|methods| methods.as_object().unwrap().values());
    let ids: BTreeSet<_> =
        ids.map(|operation| operation["operationId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(known, ids);
}

/// The stored keys but for their last uses, which the follower writes.
fn assert_same(before: &[(String, Vec<u8>)], after: &[(String, Vec<u8>)], id: &str) {
    let names = |keys: &[(String, Vec<u8>)]| -> Vec<String> {
        keys.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(before), names(after), "{id}");
    let version = |keys: &[(String, Vec<u8>)]| {
        keys.iter().find(|(name, _)| name.ends_with(":version")).cloned()
    };
    assert_eq!(version(before), version(after), "{id}");
}

#[tokio::test]
async fn open_paths_need_no_key() {
    let service = Service::with_keys().await;
    for path in [
        "/livez",
        "/readyz",
        "/problems",
        "/problems/overloaded",
        "/docs/",
        "/openapi.json",
        "/console/",
        "/console/console.js",
        "/docs/index.html",
    ] {
        let answer = service.get(path).without_caller_key().await;
        assert_eq!(answer.status, 200, "{path}: {:#}", answer.body);
    }
    for path in ["/", "/docs", "/console"] {
        let answer = service.get(path).without_caller_key().await;
        assert_eq!(answer.status, 307, "{path}");
    }
    let nothing = service.get("/nowhere").without_caller_key().await;
    nothing.expect_problem(404, "route_not_found");
    let wrong = service.call("PUT", "/accounts").without_caller_key().await;
    wrong.expect_problem(405, "method_not_allowed");
    let options = service.call("OPTIONS", "/accounts").without_caller_key().await;
    assert_eq!(options.status, 204);
    // A HEAD is the read without its body.
    let head = service.call("HEAD", "/accounts/alice").without_caller_key().await;
    assert_eq!(head.status, 401);
}

/// The paths that Envoy makes, and every method of them.
#[tokio::test]
async fn a_gateways_paths_need_the_same_key() {
    let service = Service::with_keys().await;
    let service = service.as_caller(&service.make_key(&["ratelimit:write"], &["*"]).await);
    let writer = service.clone();
    for method in ["GET", "POST", "DELETE"] {
        for path in ["/ratelimit/authorize/", "/ratelimit/authorize/a/b"] {
            let call = writer.call(method, path).header("lockstep-policy", "none");
            let call = call.header("lockstep-key", "k");
            call.clone().without_caller_key().await.expect_problem(401, "unauthenticated");
            call.await.expect_problem(404, "policy_not_found");
        }
    }
}

#[tokio::test]
async fn a_command_among_several_needs_its_own_scope() {
    let root = Service::with_keys().await;
    let all = root.as_caller(&root.make_key(&["*"], &["*"]).await);
    all.open("alice", "5").await;
    let caller = root.make_key(&["counters:write", "accounts/deposit"], &["*"]).await;
    let caller = all.as_caller(&caller);
    let count = operation("counters/increment", json!({ "counter": "c" }));
    let deposit = json!({ "account_id": "alice", "amount": "1" });
    let deposit = operation("accounts/deposit", deposit);
    let withdraw = json!({ "account_id": "alice", "amount": "1" });
    let withdraw = operation("accounts/withdraw", withdraw);
    caller.atomic(&[count.clone(), deposit.clone()]).await.assert(200);
    let before = all.snapshot();
    let refused = caller.atomic(&[count.clone(), deposit.clone(), withdraw.clone()]).await;
    let refused = refused.expect_problem(403, "insufficient_scope");
    assert_eq!(refused["operation_index"], 2);
    assert_eq!(
        (&refused["required"], &refused["operation"]),
        (&json!("accounts:write"), &withdraw["operation"])
    );
    all.assert_unchanged(&before);
    let lines = [&count, &withdraw, &deposit].map(Value::to_string).join("\n");
    let request = Request::post("/bulk")
        .header("content-type", "application/x-ndjson")
        .header("lockstep-space", &caller.space)
        .body(Body::from(lines));
    let answer = caller.send(request.unwrap()).await;
    let lines: Vec<Value> = String::from_utf8(answer.bytes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 403, 201]);
    assert_eq!(
        (&lines[1]["index"], &lines[1]["body"]["required"]),
        (&json!(1), &json!("accounts:write"))
    );
    assert_eq!(all.balance("alice").await, "7.00");
}

#[tokio::test]
async fn a_key_with_one_space_needs_no_header() {
    let root = Service::with_keys().await;
    let only = root.as_caller(&root.make_key(&["*"], &[&root.space]).await);
    let without = |service: &Service, path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let service = service.clone();
        async move { service.send(request).await }
    };
    only.open("alice", "1").await;
    without(&only, "/accounts/alice").await.assert(200);
    let in_main = only.in_space("main").get("/accounts/alice").await;
    assert_eq!(in_main.expect_problem(403, "space_not_allowed")["space"], "main");
    let several = root.as_caller(&root.make_key(&["*"], &[&root.space, "b"]).await);
    without(&several, "/accounts/alice").await.expect_problem(403, "space_not_allowed");
    let pattern = root.as_caller(&root.make_key(&["*"], &["test-*"]).await);
    pattern.get("/accounts/alice").await.assert(200);
    without(&pattern, "/accounts/alice").await.expect_problem(403, "space_not_allowed");
}

#[tokio::test]
async fn only_a_bearer_with_a_key_is_one() {
    let service = Service::with_keys().await;
    let key = service.make_key(&["*"], &["*"]).await;
    let call = service.get("/counters/c").without_caller_key();
    for good in [format!("Bearer {key}"), format!("bearer {key}"), format!("BEARER  {key} ")] {
        call.clone().header("authorization", &good).await.assert(200);
    }
    let mut bad = vec![
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        key.clone(),
        format!("Basic {key}"),
        format!("Bearer {key}x"),
        format!("Bearer {key} {key}"),
        format!("Bearer \"{key}\""),
        format!("Bearer {}", &key[..54]),
    ];
    // Every character of a key matters.
    for at in 0..key.len() {
        let mut typo = key.clone().into_bytes();
        typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
        bad.push(format!("Bearer {}", String::from_utf8(typo).unwrap()));
    }
    for bad in bad {
        let answer = call.clone().header("authorization", &bad).await;
        let problem = answer.expect_problem(401, "unauthenticated");
        assert!(!problem.to_string().contains("lsk_a"), "{problem:#}");
    }
    let two = call.header("authorization", &format!("Bearer {key}"));
    let two = two.header("authorization", &format!("Bearer {key}"));
    two.await.expect_problem(401, "unauthenticated");
}

/// Every route of the document has a requirement that follows from its name or is declared.
#[test]
fn every_operation_has_a_scope() {
    let document = app::document("");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let security = operation["security"].as_array().unwrap_or_else(|| {
                panic!("{method} {path} has no scope: its name has a domain that auth/scope.rs does not know")
            });
            assert_eq!(security.is_empty(), OPEN.contains(&id), "{method} {path}");
            let scopes = security.first().map(|scheme| scheme["callerKey"].as_array().unwrap());
            let any = ["atomic_run", "bulk_run", "keys_self"].contains(&id);
            assert!(scopes.is_none_or(|scopes| scopes.is_empty() == any), "{method} {path}");
            let writes = scopes.and_then(|scopes| scopes.first()?.as_str());
            let reads = ["batch_get", "locks_validate", "scripts_validate"];
            if let Some(scope) = writes.filter(|scope| scope.contains(":write")) {
                assert!(*method != "get" || id == "ratelimit_authorize", "{scope} for {id}");
            } else if writes.is_some_and(|scope| scope.ends_with(":read")) {
                assert!(*method == "get" || reads.contains(&id), "{method} {path} is no read");
            }
        }
    }
    assert!(document["components"]["securitySchemes"]["callerKey"]["scheme"] == "bearer");
}
