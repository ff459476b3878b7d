use serde_json::{Value, json};

use crate::support::Service;

async fn validate(service: &Service, source: &str) -> Value {
    service.post("/scripts/validate", json!({ "source": source })).await.assert(200)
}

#[tokio::test]
async fn says_where_a_source_does_not_compile() {
    let service = Service::new();
    let validation = validate(&service, "#!lua\nlocal x =\n= 1").await;
    assert_eq!(validation["valid"], false);
    let diagnostic = json!({
        "line": 3, "severity": "error", "rule": "syntax", "message": "unexpected symbol near '='"
    });
    assert_eq!(validation["diagnostics"], json!([diagnostic]));
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn finds_what_is_seldom_meant() {
    let service = Service::new();
    let source = "\
total = redis.call('GET', 'total')
redis.call('KEYS', '*')
redis.call('SET', KEYS[1], 1)
while true do
  total = total + 1
end
return redis.error_reply('late')";
    let validation = validate(&service, source).await;
    assert_eq!(validation["valid"], true);
    let found: Vec<_> = validation["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (found["rule"].as_str().unwrap(), found["line"].as_u64().unwrap()))
        .collect();
    let expected = [
        ("missing-shebang", 1),
        ("global-assignment", 1),
        ("undeclared-key", 1),
        ("forbidden-command", 2),
        ("endless-loop", 4),
        ("global-assignment", 5),
        ("write-before-check", 7),
    ];
    assert_eq!(found, expected);
    // A script with the same source is registered with the same warnings.
    let put = service.put_script_of("s", source, json!({ "keys": ["k"] })).await.assert(201);
    assert_eq!(put["warnings"], validation["diagnostics"]);
}

#[tokio::test]
async fn has_nothing_against_a_good_source() {
    let source = "#!lua\nlocal n = redis.call('INCR', KEYS[1])\nreturn n -- x = 1";
    let validation = validate(&Service::new(), source).await;
    assert_eq!(validation, json!({ "valid": true, "diagnostics": [] }));
}

#[tokio::test]
async fn refuses_invalid_values() {
    let service = Service::new();
    for source in [json!(""), json!("x".repeat(131_073)), json!("\u{0}"), json!(1)] {
        let refused = service.post("/scripts/validate", json!({ "source": source })).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], "/source");
    }
    service.post("/scripts/validate", json!({})).await.expect_problem(422, "validation_failed");
}
