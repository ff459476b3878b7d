use crate::support::{Service, race};

#[tokio::test]
async fn a_script_is_gone_with_all_its_versions() {
    let service = Service::new();
    let before = service.snapshot();
    service.put_script("s", "return 1").await.assert(201);
    service.put_script("s", "return 2").await.assert(200);
    service.delete("/scripts/s").await.assert(200);
    service.assert_unchanged(&before);
    service.get("/scripts/s").await.expect_problem(404, "script_not_found");
    service.run_script("s", &[], &[]).await.expect_problem(404, "script_not_found");
    // One that is made anew counts from 1.
    assert_eq!(service.put_script("s", "return 3").await.assert(201)["version"], 1);
    let old = service.get("/scripts/s/versions/2").await;
    old.expect_problem(404, "script_version_not_found");
}

#[tokio::test]
async fn refuses_another_revision_and_what_is_not_there() {
    let service = Service::new();
    service.delete("/scripts/s").await.expect_problem(404, "script_not_found");
    service.put_script("s", "return 1").await.assert(201);
    let refused = service.delete("/scripts/s").if_match("\"2\"").await;
    assert_eq!(refused.expect_problem(412, "version_mismatch")["version"], 1);
    service.delete("/scripts/s").if_match("\"1\"").await.assert(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_deletes_it() {
    let service = Service::new();
    service.put_script("s", "return 1").await.assert(201);
    let answers = race(16, |_| service.delete("/scripts/s")).await;
    assert_eq!((answers.count(200), answers.count_code("script_not_found")), (1, 15));
}
