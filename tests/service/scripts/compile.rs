use serde_json::json;

use crate::support::{Server, Service};

/// The server compiles a source without keeping it.
#[tokio::test]
async fn a_source_is_compiled_and_not_kept() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    let validate = |number: usize| {
        let source = format!("return {number}");
        service.post("/scripts/validate", json!({ "source": source }))
    };
    let cached = || -> String {
        let info: String =
            redis::cmd("INFO").arg("memory").query(&mut server.connection()).unwrap();
        let line = info.lines().find(|line| line.starts_with("number_of_cached_scripts"));
        line.unwrap().to_owned()
    };
    validate(0).await.assert(200);
    let before = cached();
    for number in 1..50 {
        assert_eq!(validate(number).await.assert(200)["valid"], true);
    }
    assert_eq!(cached(), before);
}
