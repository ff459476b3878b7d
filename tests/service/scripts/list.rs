use serde_json::json;

use crate::support::{Paging, Service, assert_rejects_invalid_paging, pages};

#[tokio::test]
async fn lists_the_scripts_of_the_space_in_their_order() {
    let service = Service::new();
    for name in ["c", "a", "b"] {
        service.put_script(name, "return 1").await.assert(201);
    }
    let pages = pages(&service, "/scripts?limit=2", "scripts").await;
    let names: Vec<Vec<_>> = pages
        .iter()
        .map(|page| page.iter().map(|script| script["name"].as_str().unwrap()).collect())
        .collect();
    assert_eq!(names, [vec!["a", "b"], vec!["c"]]);
    assert!(pages[0][0].get("source").is_none());
    let other = service.in_new_space().get("/scripts").await.assert(200);
    assert_eq!(other, json!({ "scripts": [] }));
}

#[tokio::test]
async fn lists_the_scripts_of_the_service() {
    let list = Service::new().get("/scripts?builtin=true").await.assert(200);
    let scripts = list["scripts"].as_array().unwrap();
    assert!(scripts.len() > 40 && scripts.iter().all(|script| script["builtin"] == true));
    assert!(scripts.iter().any(|script| script["name"] == "accounts_transfer"));
}

#[tokio::test]
async fn rejects_invalid_paging() {
    let more = ["builtin=x", "builtin=1"];
    assert_rejects_invalid_paging(&Service::new(), "/scripts", Paging::Ids, &more).await;
}
