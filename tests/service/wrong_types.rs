//! Keys that somebody else has written: every script ends in a clean error and writes nothing.

use crate::{
    catalogue::{Entry, Seeded, catalogue},
    support::{Answer, Server, Service, seed},
};
use redis::Commands;

/// The keys of an entry, and the record of its idempotency key where it takes one.
fn keys(entry: &Entry) -> Vec<(&'static str, &'static str)> {
    let once = entry.is_command().then_some(("once", "k"));
    entry.reads.iter().copied().chain(once).collect()
}

/// The Redis type of the keys of a kind.
fn own_type(kind: &str) -> &'static str {
    match kind {
        "postings" | "movements" => "list",
        "external" | "transactions" | "script_versions" => "hash",
        "product_holds" | "account_holds" | "index" | "lock_queue" | "limit_log"
        | "reservations" | "tags" => "zset",
        _ => "string",
    }
}

/// The field of a transaction in its hash: the 16 bytes of its id.
fn field_of(transaction_id: &str) -> Vec<u8> {
    let digits = transaction_id.strip_prefix("tx_").unwrap();
    (0..16).map(|byte| u8::from_str_radix(&digits[2 * byte..2 * byte + 2], 16).unwrap()).collect()
}

/// Texts that look like records and are none that the service writes.
const HAND_MADE: [&str; 19] = [
    "\u{1}\u{1}\u{2}",
    "\u{2}\u{1}\u{2}0000000000000000000000000000000000000000",
    "",
    "1",
    "{}",
    "null",
    r#"{"credits":"nan","debits":"0","held":"0","postings":0,"version":0,"overdraft_limit":"0","max_balance":"","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"credits":"1e3","debits":"inf","held":"0x10","postings":0,"version":0,"overdraft_limit":"0","max_balance":"","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"credits":"99999999999999999999999999999","debits":"0","held":"0","postings":0,"version":0,"overdraft_limit":"0","max_balance":"","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"on_hand":5,"reserved":9,"sold":0,"next_due":0,"version":1,"price":"1","currency":"USD","scale":2,"created_at":1,"name":"n","description":null,"metadata":{}}"#,
    r#"{"credits":"1","debits":"0","held":"0","next_due":0,"postings":0,"version":0,"status":"open","overdraft_limit":"0","max_balance":"-1","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"status":"open","amount":"1","captured":"1","released":"1","from_account":"alice","to_account":"bob","currency":"USD","scale":2,"expires_at":9000000000000,"created_at":1,"description":null,"metadata":{}}"#,
    r#"{"reversed":"0","amount":"-1","kind":"transfer","from_account":"alice","to_account":"bob","currency":"USD","scale":2,"hold_id":null,"reverses":null,"created_at":1,"description":null,"metadata":{}}"#,
    r#"{"reversed":"7","amount":"5","kind":"transfer","from_account":"alice","to_account":"bob","currency":"USD","scale":2,"hold_id":null,"reverses":null,"created_at":1,"description":null,"metadata":{}}"#,
    r#"{"credits":"1","debits":"0","held":"0","next_due":0,"postings":0,"version":0,"status":"suspended","overdraft_limit":"0","max_balance":"","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"value":9007199254740993,"expires_at":0}"#,
    r#"{"value":1e3,"expires_at":0}"#,
    r#"{"value":1,"expires_at":-1}"#,
    r#"{"level":nan,"per_token":0,"at":-1}"#,
];

/// Further texts that look like a record of this kind and are none.
fn hand_made(kind: &str) -> Vec<String> {
    let (zero, too_large) = ("\0\0\0\0\0\0\0\0", "\0\0\0\0\0\0@C");
    match kind {
        // A bucket whose tokens have no parts; and of each algorithm, numbers of 2^53, and more numbers than it has.
        "limit" => {
            let numbers = [('\u{1}', 3), ('\u{3}', 3), ('\u{4}', 3), ('\u{5}', 2)];
            let texts = numbers.into_iter().flat_map(|(code, numbers)| {
                [too_large.repeat(numbers), zero.repeat(numbers + 1)]
                    .map(|text| format!("{code}{text}"))
            });
            texts.chain(["\u{1}".to_owned() + &zero.repeat(3)]).collect()
        }
        // A script without a version.
        "script" => vec!["\u{1}".to_owned() + &zero.repeat(4)],
        _ => Vec::new(),
    }
}

/// True if the operation reads on past a key of this kind: a list leaves out what is damaged, and a check
/// names it.
fn passes_over(name: &str, kind: &str) -> bool {
    match name {
        "accounts/list"
        | "accounts/integrity"
        | "inventory/list_products"
        | "inventory/integrity" => kind != "index",
        "inventory/customer_reservations" => kind != "reservations",
        _ => false,
    }
}

/// Panics unless a list has left out the only thing that there was, or a check has named it.
fn assert_passed_over(answer: &Answer, place: &str) {
    assert_eq!(answer.status.as_u16(), 200, "{place}: {:#}", answer.body);
    match answer.body.get("ok") {
        Some(ok) => assert_eq!(ok, false, "{place}: {:#}", answer.body),
        None => assert!(answer.body["next_cursor"].is_null(), "{place}: {:#}", answer.body),
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_and_stays() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    for entry in catalogue() {
        for (kind, id) in keys(&entry) {
            for other in ["string", "list", "hash", "set", "zset"] {
                if other == own_type(kind) {
                    continue;
                }
                let seeded = Seeded::new(&service, entry.needs).await;
                let service = &seeded.service;
                let key = service.key(kind, &seeded.fill(id));
                seed(&mut service.raw(), &key, other, "1");
                let before = service.snapshot();
                let answer = seeded.call(&entry).key("k").await;
                let place = format!("{} with a {other} at {kind}:{id}", entry.name);
                service.assert_unchanged(&before);
                if entry.name == "batch/run" {
                    // Each command of a batch has its own result.
                    assert_eq!(answer.body["succeeded"], 0, "{place}");
                    let error = &answer.body["results"][0]["error"];
                    assert_eq!(error["code"], "internal_error", "{place}");
                    continue;
                }
                if passes_over(entry.name, kind) {
                    assert_passed_over(&answer, &place);
                    continue;
                }
                assert_eq!(answer.status.as_u16(), 500, "{place}: {:#}", answer.body);
                let refused = answer.expect_problem(500, "internal_error");
                assert!(!refused["detail"].as_str().unwrap().contains("lockstep:"), "{place}");
            }
        }
    }
}

#[tokio::test]
async fn a_record_made_by_hand_is_an_error_and_stays() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    for entry in catalogue() {
        let keys = keys(&entry).into_iter();
        for (kind, id) in keys.filter(|(kind, _)| !["list", "zset"].contains(&own_type(kind))) {
            let of_kind = hand_made(kind);
            for text in HAND_MADE.into_iter().chain(of_kind.iter().map(String::as_str)) {
                let seeded = Seeded::new(&service, entry.needs).await;
                let service = &seeded.service;
                let key = service.key(kind, &seeded.fill(id));
                if kind == "transactions" {
                    let field = field_of(&seeded.fill("{transaction_id}"));
                    let () = service.raw().hset(&key, field, text).unwrap();
                } else if kind == "script_versions" {
                    let fields = [("1", text), ("2", text)];
                    let () = service.raw().hset_multiple(&key, &fields).unwrap();
                } else {
                    seed(&mut service.raw(), &key, own_type(kind), text);
                }
                let before = service.snapshot();
                let answer = seeded.call(&entry).key("k").await;
                let place = format!("{} with {text:?} at {kind}:{id}", entry.name);
                // A record of the idempotency key may be that of another call, which is no error.
                if passes_over(entry.name, kind) {
                    assert_passed_over(&answer, &place);
                } else if kind == "once" && answer.status.as_u16() == 422 {
                    answer.expect_problem(422, "idempotency_key_reused");
                } else {
                    assert_eq!(answer.status.as_u16(), 500, "{place}: {:#}", answer.body);
                    answer.expect_problem(500, "internal_error");
                }
                service.assert_unchanged(&before);
            }
        }
    }
}
