//! Tests of what is lost or damaged in Redis: lists go on without it, checks name it, and what stands beside
//! it works as before.

use redis::Commands;
use serde_json::{Value, json};

use crate::support::{HOUR, Service, pages};

/// Something that happens to a key behind the service's back.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// The key is gone.
    Lost,
    /// Its last byte is gone.
    CutShort,
    /// It holds a text that is no record.
    Overwritten,
    /// It has another type.
    Retyped,
    /// The newest entry of a log is gone.
    NewestLost,
    /// The oldest entry of a log is gone.
    OldestLost,
    /// The newest entry of a log is no entry.
    NewestOverwritten,
    /// A member of a set is none of ours.
    StrangeMember,
}

/// Does it, and returns the whole key as it was before.
fn strike(service: &Service, key: &str, blow: Blow) -> Vec<u8> {
    let mut raw = service.raw();
    let before: Vec<u8> = redis::cmd("DUMP").arg(key).query(&mut raw).unwrap();
    assert!(!before.is_empty(), "there is no {key}");
    match blow {
        Blow::Lost => raw.del(key).unwrap(),
        Blow::CutShort => {
            let mut text: Vec<u8> = raw.get(key).unwrap();
            text.pop();
            raw.set(key, text).unwrap()
        }
        Blow::Overwritten => raw.set(key, "\u{1}x").unwrap(),
        Blow::Retyped => {
            let () = raw.del(key).unwrap();
            raw.sadd(key, "x").unwrap()
        }
        Blow::NewestLost => raw.rpop::<_, ()>(key, None).unwrap(),
        Blow::OldestLost => raw.lpop::<_, ()>(key, None).unwrap(),
        Blow::NewestOverwritten => raw.lset(key, -1, "x").unwrap(),
        Blow::StrangeMember => raw.zadd(key, "x", 9e15).unwrap(),
    }
    before
}

fn repair(service: &Service, key: &str, before: &[u8]) {
    let mut raw = service.raw();
    redis::cmd("RESTORE").arg(key).arg(0).arg(before).arg("REPLACE").exec(&mut raw).unwrap();
}

fn ids(page: &Value, list: &str, name: &str) -> Vec<String> {
    let items = page[list].as_array().unwrap();
    items.iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn accounts_are_listed_and_checked_past_one_that_is_damaged() {
    let service = Service::new();
    for account in ["alice", "bob", "carol"] {
        service.open(account, "100").await;
    }
    service.transfer("bob", "alice", "10").await.assert(201);
    service.held("bob", "alice", "5").await;
    let sound = service.get("/accounts/integrity").await.assert(200);
    assert_eq!((&sound["ok"], &sound["damaged"]), (&json!(true), &json!([])));

    let all = ["alice", "bob", "carol"].as_slice();
    let others = ["alice", "carol"].as_slice();
    for (kind, blow, reason, listed) in [
        ("account", Blow::Lost, "missing", others),
        ("account", Blow::Overwritten, "unreadable", others),
        ("account", Blow::Retyped, "unreadable", others),
        ("postings", Blow::Lost, "postings", all),
        ("postings", Blow::NewestLost, "postings", all),
        ("postings", Blow::OldestLost, "postings", all),
        ("postings", Blow::NewestOverwritten, "unreadable", all),
        ("postings", Blow::Retyped, "unreadable", all),
        ("account_holds", Blow::Lost, "holds", all),
        ("account_holds", Blow::StrangeMember, "unreadable", all),
        ("account_holds", Blow::Retyped, "unreadable", all),
    ] {
        let place = format!("{kind} {blow:?}");
        let key = service.key(kind, "bob");
        let before = strike(&service, &key, blow);
        let page = service.get("/accounts").await.assert(200);
        assert_eq!(ids(&page, "accounts", "account_id"), listed, "{place}");
        for limit in [1, 2] {
            let found =
                pages(&service, &format!("/accounts?limit={limit}"), "accounts").await.concat();
            let found: Vec<_> = found.iter().map(|it| it["account_id"].as_str().unwrap()).collect();
            assert_eq!(found, listed, "{place}");
        }
        let books = service.get("/accounts/integrity").await.assert(200);
        let named = json!([{ "account_id": "bob", "reason": reason }]);
        assert_eq!((&books["ok"], &books["damaged"]), (&json!(false), &named), "{place}");
        let counted = if kind == "account" { 2 } else { 3 };
        assert_eq!(books["currencies"][0]["accounts"], counted, "{place}");
        // The loss of an account is seen in the sum; that of anything else leaves the sum as it is.
        assert_eq!(
            books["currencies"][0]["sum"] == "0.00",
            kind != "account",
            "{place}: {books:#}"
        );
        service.transfer("alice", "carol", "1").await.assert(201);
        service.transfer("carol", "alice", "1").await.assert(201);
        repair(&service, &key, &before);
        let books = service.get("/accounts/integrity").await.assert(200);
        assert_eq!(books["ok"], true, "{place}: {books:#}");
    }
    // The metadata of an account are the end of its record; only the list reads them.
    let before = strike(&service, &service.key("account", "bob"), Blow::CutShort);
    let page = service.get("/accounts").await.assert(200);
    assert_eq!(ids(&page, "accounts", "account_id"), others);
    repair(&service, &service.key("account", "bob"), &before);
}

/// A log that is lost is said to be trimmed, and money still moves.
#[tokio::test]
async fn an_account_works_without_its_log() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    strike(&service, &service.key("postings", "alice"), Blow::Lost);
    service.transfer("alice", "bob", "10").await.assert(201);
    let page = service.get("/accounts/alice/transactions").await.assert(200);
    assert_eq!(page["transactions"].as_array().unwrap().len(), 1);
    let books = service.get("/accounts/integrity").await.assert(200);
    assert_eq!(books["damaged"], json!([{ "account_id": "alice", "reason": "postings" }]));
    assert_eq!(books["currencies"][0]["sum"], "0.00");
}

#[tokio::test]
async fn the_external_account_is_named() {
    let service = Service::new();
    service.open("alice", "100").await;
    let key = service.key("external", "accounts");
    for blow in [Blow::Lost, Blow::Overwritten, Blow::Retyped] {
        let before = strike(&service, &key, blow);
        let books = service.get("/accounts/integrity").await.assert(200);
        assert_eq!(books["ok"], false, "{blow:?}");
        assert_eq!(books["currencies"][0]["sum"], "100.00", "{blow:?}");
        let is_named =
            books["damaged"] == json!([{ "account_id": "external", "reason": "unreadable" }]);
        assert_eq!(is_named, !matches!(blow, Blow::Lost), "{blow:?}: {books:#}");
        repair(&service, &key, &before);
    }
}

/// A hold whose record is lost cannot be captured, and frees its money when its time is up.
#[tokio::test]
async fn a_lost_hold_ends_by_the_clock() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    let hold = service.held("alice", "bob", "40").await;
    strike(&service, &service.key("hold", &hold), Blow::Lost);
    service.capture(&hold, None, true).await.expect_problem(404, "hold_not_found");
    assert_eq!(service.funds("alice").await, ["100.00", "60.00", "40.00"]);
    service.advance_ms(HOUR);
    assert_eq!(service.funds("alice").await, ["100.00", "100.00", "0.00"]);
    assert_eq!(service.get("/accounts/integrity").await.assert(200)["ok"], true);
}

/// Calls such as a capture run in two scripts: the first finds the record and with it the accounts, the second changes
/// them. Whether the record or the other keys are missing in the second, the answer is not found, and nothing changes.
#[tokio::test]
async fn a_record_that_is_lost_between_two_steps_is_not_found() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    service.add_product("cup", 10).await;
    let hold = service.held("alice", "bob", "40").await;
    let made = service.reserve("cup", 3, HOUR.cast_unsigned()).await.assert(201);
    let reservation = made["reservation_id"].as_str().unwrap();
    let paid = service.transfer("alice", "bob", "5").await.assert(201);
    let transaction = paid["transaction_id"].as_str().unwrap();
    let before = service.snapshot();

    let id_bytes = "sixteen-bytes-id";
    let hashes = ["1", "2"].map(|second| service.key("transactions", second));
    let keys_of = |id: &str, kinds: &[&str]| -> Vec<String> {
        kinds.iter().map(|kind| service.key(kind, id)).collect()
    };
    let payer = keys_of("alice", &["account", "account_holds"]);
    let captured = [
        keys_of("alice", &["account"]),
        keys_of("bob", &["account"]),
        keys_of("alice", &["postings"]),
        keys_of("bob", &["postings"]),
        keys_of("alice", &["account_holds"]),
    ]
    .concat();
    let reversed = [
        keys_of("bob", &["account", "postings", "account_holds"]),
        keys_of("alice", &["account", "postings"]),
    ]
    .concat();
    let line = [
        keys_of("cup", &["product", "product_holds", "movements"]),
        keys_of("cup/carol", &["allowance"]),
    ]
    .concat();
    let found = |operation: &str, keys: &[String], args: &[&str]| -> String {
        let args = args.iter().copied().map(str::to_owned).collect();
        let replies = service.run_steps(operation, &[(keys.to_vec(), args)]).unwrap();
        let reply: Vec<redis::Value> = redis::from_redis_value(replies[1].clone()).unwrap();
        redis::from_redis_value(reply[0].clone()).unwrap()
    };
    // The keys of the record, and those that the first step has found in it.
    let expect_none = |operation: &str, keys: &[String], more: &[String], args: &[&str]| {
        let kind = match operation {
            "accounts/reverse" => "transaction",
            _ if operation.starts_with("accounts") => "hold",
            _ => "reservation",
        };
        let none = format!("{kind}_not_found");
        assert_eq!(found(operation, keys, args), none, "{operation} without the other keys");
        let lost = [&[format!("{}-lost", keys[0])], &keys[1..], more].concat();
        assert_eq!(found(operation, &lost, args), none, "{operation} without the record");
    };
    let [held, reserved] =
        [("hold", &*hold), ("reservation", reservation)].map(|(kind, id)| [service.key(kind, id)]);
    expect_none("accounts/extend", &held, &payer, &[&hold, "9"]);
    expect_none("accounts/release", &held, &payer, &[&hold]);
    let keys = [held[0].clone(), hashes[0].clone()];
    let args = [&hold, "", "0", "true", "tx_1", id_bytes];
    expect_none("accounts/capture", &keys, &captured, &args);
    let keys = [hashes.as_slice(), &[service.key("external", "accounts")]].concat();
    let args = [transaction, id_bytes, "", "0", "null", "tx_1", id_bytes];
    expect_none("accounts/reverse", &keys, &reversed, &args);
    expect_none("inventory/confirm", &reserved, &line, &[reservation, id_bytes, "keep"]);
    expect_none("inventory/cancel", &reserved, &line, &[reservation, id_bytes]);
    expect_none("inventory/extend", &reserved, &line, &[reservation, id_bytes, "9"]);
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn products_are_listed_and_checked_past_one_that_is_damaged() {
    let service = Service::new();
    for product in ["cup", "mug", "pot"] {
        service.add_product(product, 10).await;
    }
    service.reserve("mug", 3, HOUR.cast_unsigned()).await.assert(201);
    let all = ["cup", "mug", "pot"].as_slice();
    let others = ["cup", "pot"].as_slice();
    for (kind, blow, damage, listed) in [
        ("product", Blow::Lost, "missing", others),
        ("product", Blow::Overwritten, "unreadable", others),
        ("product", Blow::Retyped, "unreadable", others),
        ("product_holds", Blow::Lost, "holds", all),
        ("product_holds", Blow::StrangeMember, "unreadable", all),
        ("product_holds", Blow::Retyped, "unreadable", all),
        ("movements", Blow::Lost, "movements", all),
        ("movements", Blow::NewestLost, "movements", all),
        ("movements", Blow::OldestLost, "movements", all),
        ("movements", Blow::Retyped, "unreadable", all),
    ] {
        let place = format!("{kind} {blow:?}");
        let key = service.key(kind, "mug");
        let before = strike(&service, &key, blow);
        let page = service.get("/inventory/products").await.assert(200);
        assert_eq!(ids(&page, "products", "product_id"), listed, "{place}");
        let stock = service.get("/inventory/integrity").await.assert(200);
        assert_eq!(ids(&stock, "products", "product_id"), all, "{place}");
        assert_eq!(stock["ok"], false, "{place}");
        let mug = &stock["products"][1];
        assert_eq!((&mug["ok"], &mug["damage"]), (&json!(false), &json!(damage)), "{place}");
        assert_eq!(mug.get("on_hand").is_none(), kind == "product", "{place}");
        assert!(stock["products"][0].get("damage").is_none(), "{place}");
        service.reserve("cup", 1, 1).await.assert(201);
        repair(&service, &key, &before);
        let stock = service.get("/inventory/integrity").await.assert(200);
        assert_eq!(stock["ok"], true, "{place}: {stock:#}");
    }
    strike(&service, &service.key("product", "mug"), Blow::CutShort);
    let page = service.get("/inventory/products").await.assert(200);
    assert_eq!(ids(&page, "products", "product_id"), others);
}

#[tokio::test]
async fn reservations_are_listed_past_one_that_is_damaged() {
    let service = Service::new();
    service.add_product("cup", 10).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let answer = service.reserve("cup", 1, HOUR.cast_unsigned()).await.assert(201);
        made.push(answer["reservation_id"].as_str().unwrap().to_owned());
    }
    let key = service.key("reservation", &made[1]);
    for blow in [Blow::Lost, Blow::CutShort, Blow::Overwritten, Blow::Retyped] {
        let before = strike(&service, &key, blow);
        let page = service.get("/inventory/customers/carol/reservations").await.assert(200);
        let listed = ids(&page, "reservations", "reservation_id");
        assert_eq!(listed, [made[2].clone(), made[0].clone()], "{blow:?}");
        repair(&service, &key, &before);
    }
    // Its units are free when its time is up.
    strike(&service, &key, Blow::Lost);
    assert_eq!(service.stock("cup").await, [10, 3, 7]);
    service.advance_ms(HOUR);
    assert_eq!(service.stock("cup").await, [10, 0, 10]);
    assert_eq!(service.get("/inventory/integrity").await.assert(200)["ok"], true);
}
