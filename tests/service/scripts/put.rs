use serde_json::{Value, json};

use crate::support::{Service, assert_if_match, race};

#[tokio::test]
async fn registers_a_source_and_runs_nothing_of_it() {
    let service = Service::new();
    let source = "#!lua\nredis.call('SET', KEYS[1], 'ran')\nreturn 1";
    let more = json!({ "keys": ["k"], "description": "d" });
    let answer = service.put_script_of("s", source, more).await;
    assert_eq!(answer.header("location"), Some("/scripts/s"));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let put = answer.assert(201);
    assert_eq!(
        (&put["name"], &put["version"], &put["warnings"]),
        (&json!("s"), &json!(1), &json!([]))
    );
    // `printf '#!lua\nredis...' | sha256sum` gives the same: it is of the source as it was given.
    let digest = put["sha256"].as_str().unwrap();
    assert!(digest.len() == 64 && put["sha1"].as_str().unwrap().len() == 40);
    let data = format!("lockstep-data:{{{}}}:", service.space);
    assert!(!service.snapshot().iter().any(|(key, _)| key.starts_with(&data)));
    assert_eq!(service.get("/scripts/s").await.assert(200)["source"], source);
}

#[tokio::test]
async fn the_same_source_is_the_same_version() {
    let service = Service::new();
    let versions = |put: Value| (put["version"].clone(), put["revision"].clone());
    for (source, version, revision) in [
        ("return 1", 1, 1),
        ("return 1", 1, 1),
        ("return 2", 2, 2),
        ("return 1", 1, 3),
        ("return 3", 3, 4),
        ("return  3", 4, 5),
    ] {
        let put = service.put_script("s", source).await.body;
        assert_eq!(versions(put), (json!(version), json!(revision)), "{source}");
    }
    // What is said of a version can change without it.
    let put = service.put_script_of("s", "return  3", json!({ "description": "new" })).await;
    assert_eq!(versions(put.assert(200)), (json!(4), json!(6)));
    assert_eq!(service.get("/scripts/s").await.assert(200)["description"], "new");
}

#[tokio::test]
async fn keeps_the_newest_twenty_versions() {
    let service = Service::new();
    for number in 1..=23 {
        let put = service.put_script("s", &format!("return {number}")).await;
        assert_eq!(put.body["version"], number);
    }
    for number in [1, 2, 3] {
        let path = format!("/scripts/s/versions/{number}");
        service.get(&path).await.expect_problem(404, "script_version_not_found");
    }
    for number in [4, 23] {
        let path = format!("/scripts/s/versions/{number}");
        assert_eq!(service.get(&path).await.assert(200)["source"], format!("return {number}"));
    }
    let hash = service.key("script_versions", "s");
    let kept: usize = redis::cmd("HLEN").arg(hash).query(&mut service.raw()).unwrap();
    assert_eq!(kept, 20);
}

#[tokio::test]
async fn refuses_a_source_that_does_not_compile() {
    let service = Service::new();
    let before = service.snapshot();
    for (source, line) in [
        ("return = 1", 1),
        ("#!lua\n\nlocal x = 'open", 3),
        ("end", 1),
        // It would end the function that the service puts around a source.
        ("end end redis.call('FLUSHALL') do do", 1),
        ("return 1 end, function() local x", 1),
        ("--[[ open", 1),
        ("break", 1),
    ] {
        let refused = service.put_script("s", source).await.expect_problem(422, "script_invalid");
        let diagnostic = &refused["diagnostics"][0];
        assert_eq!((&diagnostic["line"], &diagnostic["rule"]), (&json!(line), &json!("syntax")));
        assert_eq!(diagnostic["severity"], "error", "{source}");
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_invalid_values() {
    let service = Service::new();
    let before = service.snapshot();
    for (body, pointer) in [
        (json!({ "source": "" }), "/source"),
        (json!({ "source": " \n" }), "/source"),
        (json!({ "source": "x".repeat(131_073) }), "/source"),
        (json!({ "source": "return '\u{0}'" }), "/source"),
        (json!({ "source": "\u{1b}Lua" }), "/source"),
        (json!({ "source": "#!python\nreturn 1" }), "/source"),
        (json!({ "source": "#!lua flags=allow-cross-slot-keys\nreturn 1" }), "/source"),
        (json!({ "source": "return 1", "keys": vec!["k"; 65] }), "/keys"),
        (json!({ "source": "return 1", "args": [""] }), "/args/0"),
        (json!({ "source": "return 1", "description": "x".repeat(501) }), "/description"),
    ] {
        let refused =
            service.put("/scripts/s", body).await.expect_problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
    for name in ["validate", "kill", "flush", "cache"] {
        // These words of the paths are no names.
        let refused = service.put_script(name, "return 1").await;
        refused.expect_problem(405, "method_not_allowed");
    }
    for name in ["accounts_transfer", "scripts_run"] {
        let refused = service.put_script(name, "return 1").await;
        assert_eq!(refused.expect_problem(422, "invalid_id")["parameter"], "name", "{name}");
    }
    service.put_script("a%2Fb", "return 1").await.expect_problem(422, "invalid_id");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn changes_only_the_revision_that_is_asked_for() {
    let service = Service::new();
    service.put_script("s", "return 1").await.assert(201);
    let change = service.put_script("s", "return 2");
    assert_eq!(assert_if_match(&service, 1, change).await["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_sources_are_one_version_each() {
    let service = Service::new();
    let answers = race(32, |task| service.put_script("s", &format!("return {}", task % 4))).await;
    assert_eq!((answers.count(201), answers.count(200)), (1, 31));
    assert_eq!(service.get("/scripts/s").await.assert(200)["latest_version"], 4);
}
