//! `GET /keys/{key_id}`.

use super::{made, text};
use crate::support::Service;

#[tokio::test]
async fn a_key_is_read_and_an_unknown_one_is_not_found() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let read = service.get(&format!("/keys/{}", text(&made, "key_id"))).await.assert(200);
    assert_eq!(read["name"], "everything");
    assert!(read.get("key").is_none() && !read.to_string().contains("digest"));
    let missing = service.get("/keys/000000000000").await.expect_problem(404, "key_not_found");
    assert_eq!(missing["key_id"], "000000000000");
}
