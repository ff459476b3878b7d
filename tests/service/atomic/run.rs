use serde_json::{Value, json};

use crate::support::{Service, operation};

#[tokio::test]
async fn the_key_is_for_the_whole() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    let pay = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
    let steps = [
        operation("accounts/transfer", pay),
        operation("counters/increment", json!({ "counter": "c" })),
    ];
    let body = json!({ "operations": steps });
    let first = service.post_once("/atomic", body.clone(), "k").await;
    let first = first.assert(200);
    let again = service.post_once("/atomic", body, "k").await;
    assert!(again.replayed(), "{again:?}");
    assert_eq!(again.assert(200), first);
    let _: Value = first;
}
