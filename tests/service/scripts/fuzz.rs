//! Sources that nobody would write: whatever they are, the service answers, and the server serves the others.

use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::{Server, Service};

/// Sends a source to the calls that read one. Each answers, and then the server still does.
async fn send(service: &Service, source: &str) {
    let validated = service.post("/scripts/validate", json!({ "source": source })).await;
    let status = validated.status.as_u16();
    assert!([200, 413, 422].contains(&status), "{source:?}: {:#}", validated.body);
    let put = service.put_script("fuzz", source).await;
    assert!([200, 201, 413, 422].contains(&put.status.as_u16()), "{source:?}: {:#}", put.body);
    if put.status.is_success() {
        let body = json!({ "timeout_ms": 300 });
        let ran = service.post("/scripts/fuzz/run", body).await;
        assert!([200, 422, 504].contains(&ran.status.as_u16()), "{source:?}: {:#}", ran.body);
    }
    service.increment("alive", 1).await.assert(200);
}

#[test]
fn random_texts_do_no_harm() {
    let runtime = Runtime::new().unwrap();
    let server = Server::start(&["--busy-reply-threshold", "100"]);
    let service = runtime.block_on(async { Service::on_own_redis(&server) });
    let words = prop::sample::select(vec![
        "local ",
        "x ",
        "= ",
        "1 ",
        "end ",
        "function ",
        "( ",
        ") ",
        "do ",
        "while ",
        "true ",
        "then ",
        "if ",
        "return ",
        "'",
        "\"",
        "[[",
        "]]",
        "--",
        "--[[",
        "[==[",
        "]==]",
        "\n",
        "{ ",
        "} ",
        ".. ",
        "redis.call",
        "('GET', KEYS[1]) ",
        ", ",
        "repeat ",
        "until ",
        "break ",
        "error('x') ",
        "\\",
        "#!lua\n",
        "...",
        ";",
    ]);
    let sentences = prop::collection::vec(words, 0..40).prop_map(|words| words.concat());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 120,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let sources = prop_oneof![sentences, any::<String>(), "[ -~\n]{0,300}"];
    let run = |source: String| {
        runtime.block_on(send(&service, &source));
        Ok(())
    };
    runner.run(&sources, run).unwrap();
}

#[tokio::test]
async fn large_and_deep_sources_do_no_harm() {
    let server = Server::start(&["--busy-reply-threshold", "100"]);
    let service = Service::on_own_redis(&server);
    let long = 120_000;
    for source in [
        "(".repeat(long),
        format!("return {}1{}", "(".repeat(60_000), ")".repeat(60_000)),
        format!("return {}{}", "{".repeat(60_000), "}".repeat(60_000)),
        format!("return 1{}", "+1".repeat(60_000)),
        format!("return ''{}", "..''".repeat(30_000)),
        format!("return {}1", "-".repeat(long)),
        format!("return {}1", "not ".repeat(30_000)),
        "do ".repeat(40_000),
        format!("{}{}", "do ".repeat(17_000), "end ".repeat(17_000)),
        format!("{}{}", "if x then ".repeat(8_000), "end ".repeat(8_000)),
        "return redis.call(".repeat(7_000),
        "return redis.call() ".repeat(6_000),
        "while ".repeat(20_000),
        "x=1 ".repeat(30_000),
        "local a ".repeat(15_000),
        format!("return f{}", "()".repeat(50_000)),
        format!("local s = '{}", "x".repeat(long)),
        format!("--[[{}", "x".repeat(long)),
        format!("[{}[", "=".repeat(long)),
        format!("return '{}'", "\\".repeat(long)),
        "\n".repeat(long),
        "\u{1F512}".repeat(30_000),
    ] {
        send(&service, &source).await;
    }
    for size in [131_073, 262_144, 1_048_576] {
        send(&service, &"-".repeat(size)).await;
    }
}
