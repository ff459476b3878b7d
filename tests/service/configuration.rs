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
