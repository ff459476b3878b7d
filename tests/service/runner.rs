//! Tests of `runner.lua`: steps, one commit, and exact decimal arithmetic.

use lockstep::store::Library;
use proptest::prelude::*;
use redis::Value;
use rust_decimal::Decimal;
use serde_json::json;

use crate::support::{Service, Step, operation, race, raw, unique};

/// One transfer as the runner takes it, whose transaction is of a second of its own.
fn transfer(service: &Service, from: &str, to: &str, amount: &str) -> Step {
    transfer_in(service, from, to, amount, &unique("second-"))
}

/// The keys and the arguments of a transfer whose transaction is of this second.
pub fn transfer_in(service: &Service, from: &str, to: &str, amount: &str, second: &str) -> Step {
    let keys = [
        service.key("account", from),
        service.key("account", to),
        service.key("postings", from),
        service.key("postings", to),
        service.key("account_holds", from),
        service.key("transactions", second),
    ];
    let field = &unique("sixteen-bytes-id")[..16];
    let args = [from, to, amount, "0", "null", "{}", "tx_1", field];
    (keys.to_vec(), args.map(str::to_owned).to_vec())
}

fn codes(replies: &[Value]) -> Vec<String> {
    let code = |reply: &Value| match reply {
        Value::Array(fields) => redis::from_redis_value(fields[0].clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    replies.iter().skip(1).step_by(2).map(code).collect()
}

#[tokio::test]
async fn steps_of_one_script_see_each_other_and_fail_alone() {
    let service = Service::new();
    service.open("alice", "3").await;
    service.open("bob", "0").await;
    let one = transfer(&service, "alice", "bob", "2");
    let back = transfer(&service, "bob", "alice", "1");
    let replies = service.run_steps("accounts/transfer", &[one.clone(), one, back]).unwrap();
    assert_eq!(codes(&replies), ["ok", "insufficient_funds", "ok"]);
    assert_eq!(service.balance("alice").await, "2.00");
    assert_eq!(service.sum("USD"), 0);
    let log = service.get("/accounts/alice/transactions").await.assert(200);
    let after: Vec<_> = log["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["balance_after"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(after, ["2.00", "1.00", "3.00"]);
}

/// The transactions of a second are fields of one hash, which gets all of them with one command.
#[tokio::test]
async fn every_transaction_of_a_script_is_found() {
    let service = Service::new();
    service.open("alice", "9").await;
    service.open("bob", "0").await;
    let pay = |amount: usize| {
        let amount = amount.to_string();
        let input = json!({ "from_account": "alice", "to_account": "bob", "amount": amount });
        operation("accounts/transfer", input)
    };
    let done = service.atomic(&[1, 2, 3].map(pay)).await.assert(200);
    for (index, amount) in ["1.00", "2.00", "3.00"].into_iter().enumerate() {
        let id = done["results"][index]["body"]["transaction_id"].as_str().unwrap();
        let found = service.get(&format!("/accounts/transactions/{id}")).await.assert(200);
        assert_eq!(found["amount"], amount);
    }
}

#[tokio::test]
async fn an_error_in_one_step_writes_nothing_of_any() {
    let service = Service::new();
    service.open("alice", "3").await;
    service.open("bob", "0").await;
    crate::support::seed(
        &mut service.raw(),
        &service.key("account", "eve"),
        "string",
        "not an account",
    );
    let before = service.snapshot();
    let good = transfer(&service, "alice", "bob", "1");
    let bad = transfer(&service, "alice", "eve", "1");
    assert!(service.run_steps("accounts/transfer", &[good, bad]).is_err());
    service.assert_unchanged(&before);
}

/// The log of the service says which key is wrong, or what Redis says of a command that failed.
#[tokio::test]
async fn an_error_says_what_is_wrong_and_no_place_in_the_script() {
    let service = Service::new();
    service.open("alice", "3").await;
    let [eve, list] = ["eve", "list"].map(|id| service.key("account", id));
    let hash = service.key("transactions", "1");
    for (key, kind) in [(&eve, "string"), (&list, "list"), (&hash, "string")] {
        crate::support::seed(&mut service.raw(), key, kind, "x");
    }
    let message = |operation: &str, step| {
        let error = service.run_steps(operation, &[step]).unwrap_err();
        assert_eq!(error.code(), Some("ABORTED"));
        error.detail().unwrap().to_owned()
    };
    let to = |id: &str| message("accounts/transfer", transfer(&service, "alice", id, "1"));
    assert_eq!(to("eve"), format!("{eve} does not hold an account"));
    assert_eq!(to("list"), format!("WRONGTYPE {list} is not a record"));
    let args = ["tx_1", "sixteen-bytes-id"].map(str::to_owned).to_vec();
    let of_redis = message("accounts/get_transaction", (vec![hash], args));
    assert!(of_redis.starts_with("WRONGTYPE Operation against a key"), "{of_redis}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_in_a_batch_fails_only_its_own_calls() {
    let service = Service::with(|settings| settings.batch_workers = 1);
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    crate::support::seed(
        &mut service.raw(),
        &service.key("account", "eve"),
        "string",
        "not an account",
    );
    let tasks = race(100, |task| {
        let service = service.clone();
        let to = if task % 10 == 0 { "eve" } else { "bob" };
        async move { (to, service.transfer("alice", to, "1").await.status.as_u16()) }
    });
    for (to, status) in tasks.await {
        assert_eq!(status, if to == "eve" { 500 } else { 201 }, "{to}");
    }
    assert_eq!(service.balance("bob").await, "90.00");
}

#[test]
fn every_script_names_its_language_so_that_a_cluster_checks_its_keys() {
    for script in Library::embedded().iter() {
        assert!(script.source.starts_with("#!lua"), "{}", script.name);
    }
}

#[tokio::test]
async fn the_log_of_an_account_is_trimmed_to_its_newest_entries() {
    let service = Service::new();
    service.open("alice", "0").await;
    let log = service.key("postings", "alice");
    // The log looks as if it had many entries already; the count in the account record agrees with it.
    let entries: Vec<String> = (0..1256).map(|number| number.to_string()).collect();
    redis::cmd("RPUSH").arg(&log).arg(entries).exec(&mut service.raw()).unwrap();
    let body = serde_json::json!({ "account_id": "alice", "amount": "1" });
    service.post("/accounts/deposit", body).await.assert(201);
    let length: u64 = redis::cmd("LLEN").arg(&log).query(&mut service.raw()).unwrap();
    assert_eq!(length, 1000);
}

/// Small numbers, and numbers at the limits of doubles, of the parts of big numbers in Lua, and of
/// digits.
fn edges() -> impl Strategy<Value = u128> {
    let near = |power: u32| (0_u128..4).prop_map(move |offset| 10_u128.pow(power) + offset - 2);
    prop_oneof![
        0_u128..100,
        near(14),
        near(15),
        near(27),
        (0_u128..4).prop_map(|offset| (1 << 53) + offset - 2),
        (0_u128..5).prop_map(|offset| 10_u128.pow(28) + 1 - offset),
        (0_u128..3).prop_map(|offset| 10_u128.pow(36) - 1 - offset),
        0_u128..10_u128.pow(28),
        0_u128..10_u128.pow(36),
        0_u128..10_u128.pow(16),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Compares the arithmetic of Lua with `rust_decimal`, and with integers where that has too few
    /// digits.
    #[test]
    fn lua_counts_like_rust(a in edges(), b in edges(), c in edges(), d in edges(), e in edges(), scale in 0_u32..5) {
        let space = unique("amount-");
        let key = format!("lockstep:{{{space}}}:none");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations-lua/lib/amount.lua");
        let source = format!(
            "#!lua\nlocal amount_of, digits_of, sign_of_net, net, plus, minus, total, decimal, signed_decimal, signed_difference\n\
             local MAX_DIGITS, SMALL\n{}\nlocal a, b, c, d, e = amount_of(ARGV[1]), amount_of(ARGV[2]), amount_of(ARGV[3]), amount_of(ARGV[4]), amount_of(ARGV[5])\n\
             local amount, is_negative = net(a, b, c, d, e)\nreturn {{ \
             decimal(amount, tonumber(ARGV[6]), is_negative), \
             sign_of_net(a, b, c, d, e) < 0 and 'below' or 'above', plus(a, b) and digits_of(plus(a, b)) or 'none', \
             digits_of(total({{ a, b, c, d, e }})) }}",
            std::fs::read_to_string(folder).unwrap()
        );
        let (net, side, sum, total): (String, String, String, String) = redis::cmd("EVAL")
            .arg(source).arg(1).arg(key)
            .arg([a, b, c, d, e].map(|number| number.to_string()).as_slice())
            .arg(scale)
            .query(&mut raw(&space))
            .unwrap();
        let expected = (a + b).cast_signed() - (c + d + e).cast_signed();
        prop_assert_eq!(&side, if expected < 0 { "below" } else { "above" });
        let digits = a + b;
        prop_assert_eq!(sum, if digits < 10_u128.pow(36) { digits.to_string() } else { "none".to_owned() });
        prop_assert_eq!(total, (a + b + c + d + e).to_string());
        if expected.unsigned_abs() < 10_u128.pow(28) {
            let decimal = Decimal::from_i128_with_scale(expected, scale);
            prop_assert_eq!(net, decimal.to_string());
        } else {
            prop_assert_eq!(net.replace('.', ""), expected.to_string());
        }
    }
}
