//! `GET /keys`.

use std::collections::BTreeSet;

use super::{made, text};
use crate::support::{Paging, Service, assert_rejects_invalid_paging, pages};

#[tokio::test]
async fn keys_are_listed_in_pages_without_those_that_are_revoked() {
    let service = Service::with_keys().await;
    let mut ids = BTreeSet::new();
    for _ in 0..5 {
        ids.insert(text(&made(&service).await, "key_id").to_owned());
    }
    let revoked = ids.pop_first().unwrap();
    let body = serde_json::json!({ "key_id": revoked });
    service.post("/keys/revoke", body).await.assert(200);
    for limit in 1..=5 {
        let pages = pages(&service, &format!("/keys?limit={limit}"), "keys").await;
        let listed: Vec<_> = pages.concat();
        let listed: Vec<&str> = listed.iter().map(|key| text(key, "key_id")).collect();
        assert_eq!(listed, ids.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_rejects_invalid_paging(&service, "/keys", Paging::Ids, &[]).await;
}
