//! `keys/load`: a process that starts, or has missed changes, knows what is stored.

use crate::support::Service;

#[tokio::test]
async fn all_keys_are_loaded_however_many_pages_they_are() {
    let service = Service::with_keys().await;
    let keys = crate::support::race(1100, |_| {
        let service = service.clone();
        Box::pin(async move { service.make_key(&["counters:read"], &["*"]).await })
    })
    .await;
    // Another process on the same keys, with another root key.
    let other = service.with_root_key();
    let ring = other.ring.clone().unwrap();
    tokio::spawn(lockstep::keys::follow_keys(other.store.clone(), ring.clone()));
    while !ring.is_loaded() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for key in keys.iter() {
        other.as_caller(key).get("/counters/c").await.assert(200);
    }
}
