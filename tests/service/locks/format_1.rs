//! Locks as format 1 had them: JSON with at most one lease. `lockstep migrate` packs them; a service that meets one
//! all the same refuses to guess.

use lockstep::store::{Migrated, MigrationStep};
use redis::Commands;
use serde_json::json;

use super::{acquire, release};
use crate::{
    format::{connect, set_format},
    support::{Server, Service},
};

/// The fencing token of the newest lease in format 1, in microseconds of the year 2286: above those of the present.
const TOKEN: u64 = 9_000_000_000_000_000;
/// 300 years from now, so that the lease does not expire.
const EXPIRES_AT: i64 = 11_267_000_000_000;

/// Writes a lock word for word as a version of format 1 wrote it.
fn write_lock(service: &Service, lock: &str, lease_id: &str, expires_at: i64) {
    let record = format!(
        r#"{{"last_fencing_token":{TOKEN},"lease_id":"{lease_id}","owner":"me \"7\"","expires_at":{expires_at},"metadata":{{"job":"1"}}}}"#
    );
    let () = service.raw().set_ex(service.key("lock", lock), record, 1000).unwrap();
}

#[tokio::test]
async fn a_lease_of_format_1_holds_its_lock_after_the_migration() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    write_lock(&service, "held", "lease_1", EXPIRES_AT);
    write_lock(&service, "expired", "lease_2", 1_795_709_418_078);
    write_lock(&service, "released", "", 1_795_709_418_078);
    set_format(&server, r#"{"format":1}"#);
    let migrated = connect(&server).await.migrate(&MigrationStep::embedded()[..2], |_, _| {}).await;
    assert_eq!(migrated, Ok(Migrated::Changed { from: 1, to: 2 }));

    let ttl: i64 = service.raw().ttl(service.key("lock", "held")).unwrap();
    assert!((900..=1000).contains(&ttl), "{ttl}");
    let seen = service.get("/locks/held").await.assert(200);
    let holder = &seen["holders"][0];
    assert_eq!(
        (&holder["owner"], &holder["mode"], &holder["metadata"]),
        (&json!("me \"7\""), &json!("exclusive"), &json!({ "job": "1" }))
    );
    assert_eq!(seen["last_fencing_token"], TOKEN);
    acquire(&service, json!({ "lock": "held" })).await.expect_problem(409, "lock_held");
    let guard = format!("lock=held;token={TOKEN}");
    service.increment("c", 1).header("lockstep-guard", &guard).await.assert(200);
    let renewal = json!({ "lock": "held", "lease_id": "lease_1", "ttl_ms": 60_000 });
    assert_eq!(service.post("/locks/renew", renewal).await.assert(200)["fencing_token"], TOKEN);
    assert_eq!(service.get("/locks").await.assert(200)["locks"][0]["lock"], "held");
    release(&service, "held", &json!("lease_1")).await.assert(200);
    release(&service, "expired", &json!("lease_2")).await.expect_problem(410, "lease_expired");
    for lock in ["held", "expired", "released"] {
        let lease = acquire(&service, json!({ "lock": lock })).await.assert(201);
        assert_eq!(lease["fencing_token"], TOKEN + 1, "{lock}");
    }
}

/// A service starts only on data of its own format, so this takes somebody who writes to Redis by hand.
#[tokio::test]
async fn a_record_of_format_1_is_not_taken_for_a_free_lock() {
    let service = Service::new();
    write_lock(&service, "l", "lease_1", EXPIRES_AT);
    let before = service.snapshot();
    acquire(&service, json!({})).await.expect_problem(500, "internal_error");
    release(&service, "l", &json!("lease_1")).await.expect_problem(500, "internal_error");
    let guard = format!("lock=l;token={TOKEN}");
    let call = service.increment("c", 1).header("lockstep-guard", &guard);
    call.await.expect_problem(500, "internal_error");
    service.assert_unchanged(&before);
}
