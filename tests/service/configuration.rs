//! Tests of settings that callers notice.

use std::process::Command;

use serde_json::json;

use crate::support::{Process, redis_url, unique};

#[tokio::test(flavor = "multi_thread")]
async fn declared_currencies_have_their_decimals() {
    let space = unique("currencies-");
    let arguments =
        ["--redis-url", redis_url(), "--currency", "POINTS=0,BTC=8", "--currency", "X42=3"];
    let process = Process::start(&arguments);
    for (currency, amount, balance) in
        [("POINTS", "7", "7"), ("BTC", "0.00000001", "0.00000001"), ("X42", "1.5", "1.500")]
    {
        let body = json!({
            "account_id": format!("of-{currency}"), "currency": currency, "initial_balance": amount
        });
        let answer = process.post(&space, "/accounts", &body, currency).await.unwrap();
        assert_eq!(answer.assert(201)["balance"], balance);
    }
    let body = json!({ "account_id": "half", "currency": "POINTS", "initial_balance": "0.5" });
    let answer = process.post(&space, "/accounts", &body, "half").await.unwrap();
    answer.expect_problem(422, "amount_scale_exceeded");
    let body = json!({ "account_id": "none", "currency": "MILES" });
    let refused = process.post(&space, "/accounts", &body, "none").await.unwrap();
    let refused = refused.expect_problem(422, "validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/currency");

    // A process that does not declare the currency can still read its accounts.
    let other = Process::shared();
    let account = other.get(&space, "/accounts/of-BTC").await.unwrap().assert(200);
    assert_eq!((&account["currency"], &account["balance"]), (&json!("BTC"), &json!("0.00000001")));
    let page = other.get(&space, "/accounts?currency=POINTS").await.unwrap().assert(200);
    assert_eq!(page["accounts"].as_array().unwrap().len(), 1);
}

/// Two processes that declare different decimals of one currency, one after the other or at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_different_decimals_move_no_money() {
    let space = unique("decimals-");
    let [before, after] = ["GEMS=2", "GEMS=0"]
        .map(|declared| Process::start(&["--redis-url", redis_url(), "--currency", declared]));
    let open = |id: &str, balance: &str| json!({ "account_id": id, "currency": "GEMS", "initial_balance": balance, "overdraft_limit": "5" });
    before.post(&space, "/accounts", &open("old", "7.50"), "o").await.unwrap().assert(201);
    after.post(&space, "/accounts", &open("new", "0"), "n").await.unwrap().assert(201);
    let between =
        |from: &str, to: &str| json!({ "from_account": from, "to_account": to, "amount": "1" });
    let mut hold = between("old", "new");
    hold["ttl_ms"] = 1000.into();
    let own = json!({ "account_id": "new", "amount": "1" });
    let calls = [
        ("/accounts", open("newer", "1"), (2, 0)),
        ("/accounts/deposit", own.clone(), (2, 0)),
        ("/accounts/withdraw", own, (0, 2)),
        ("/accounts/transfer", between("old", "new"), (2, 0)),
        ("/accounts/transfer", between("new", "old"), (0, 2)),
        ("/accounts/hold", hold, (2, 0)),
        ("/accounts/close", json!({ "account_id": "old", "sweep_to": "new" }), (2, 0)),
    ];
    for (number, (path, body, (from, to))) in calls.iter().enumerate() {
        for (process, key) in [(&before, "b"), (&after, "a")] {
            let key = format!("{key}{number}");
            if (*path, process.id()) == ("/accounts", before.id()) {
                continue; // It declares the decimals that the first account has.
            }
            let answer = process.post(&space, path, body, &key).await.unwrap();
            let refused = answer.expect_problem(409, "currency_scale_mismatch");
            assert_eq!(
                (&refused["from_scale"], &refused["to_scale"]),
                (&json!(from), &json!(to)),
                "{path}"
            );
        }
    }
    let old = after.get(&space, "/accounts/old/balance").await.unwrap().assert(200);
    assert_eq!(old["balance"], "7.50");
    let integrity = after.get(&space, "/accounts/integrity").await.unwrap().assert(200);
    let gems = &integrity["currencies"][0];
    assert_eq!((&gems["ok"], &gems["sum"]), (&json!(true), &json!("0.00")), "{gems:#}");
}

#[test]
fn an_invalid_declaration_ends_the_start_with_a_message() {
    for (declared, sentence) in [
        ("POINTS", "a currency is declared as CODE=DECIMALS"),
        ("USD=3", "USD has 2 decimals by ISO 4217"),
        ("points=0", "3 to 12 of A-Z and 0-9"),
        ("POINTS=19", "0 to 18 decimals"),
    ] {
        let program = env!("CARGO_BIN_EXE_lockstep");
        let ended = Command::new(program).args(["--currency", declared]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && said.contains(sentence), "{declared}: {said}");
    }
}
