//! `GET /keys/self`.

use crate::support::Service;

#[tokio::test]
async fn every_caller_learns_what_its_key_may_do() {
    let service = Service::with_keys().await;
    let root = service.get("/keys/self").await.assert(200);
    assert_eq!((&root["name"], &root["scopes"][0]), (&"root".into(), &"keys:manage".into()));
    let key = service.make_key(&["accounts/transfer"], &["tenant-*"]).await;
    let own = service.as_caller(&key).get("/keys/self").await.assert(200);
    assert_eq!(own["key_id"], key[4..16]);
    assert_eq!(own["scopes"][0], "accounts/transfer");
}
