//! Tests of settings that callers notice.

use std::process::Command;

use clap::{Arg, CommandFactory};
use lockstep::config::Cli;
use serde_json::json;

use crate::support::{Process, Service, redis_url, unique};

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

/// A zero with the most decimals is the zero that is stored, so to set it again changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn zero_is_zero_with_any_decimals() {
    let process = Process::start(&["--redis-url", redis_url(), "--currency", "WEI=18"]);
    let service = Service::new();
    let account = json!({ "account_id": "a", "currency": "WEI", "overdraft_limit": "1" });
    process.post(&service.space, "/accounts", &account, "a").await.unwrap().assert(201);
    let product = json!({ "product_id": "p", "name": "n", "price": "0", "currency": "WEI", "initial_stock": 1 });
    process.post(&service.space, "/inventory/products", &product, "p").await.unwrap().assert(201);
    let limit = service.patch("/accounts/a", json!({ "overdraft_limit": "0" }));
    let price = service.patch("/inventory/products/p", json!({ "price": "0" }));
    let version = limit.clone().await.assert(200)["version"].clone();
    let before = service.snapshot();
    assert_eq!(limit.await.assert(200)["version"], version);
    assert_eq!(price.await.assert(200)["version"], 1);
    service.assert_unchanged(&before);
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

/// How the program ends with these arguments and one variable of the environment: its exit code, and what it
/// says.
fn end(arguments: &[&str], variable: &str, value: &str) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_lockstep");
    let mut command = Command::new(program);
    let ended = command.args(arguments).env(variable, value).output().unwrap();
    (ended.status.code().unwrap(), String::from_utf8(ended.stderr).unwrap())
}

/// A value that a setting takes.
fn value_of(setting: &Arg) -> String {
    let default = setting.get_default_values().first().and_then(|value| value.to_str());
    match (setting.get_id().as_str(), default) {
        ("insecure" | "access_log", _) => "true".to_owned(),
        ("otlp_endpoint", _) => "http://127.0.0.1:1".to_owned(),
        ("redis_url", _) => "redis://127.0.0.1:1".to_owned(),
        ("root_key_file", _) => "/nowhere/root.key".to_owned(),
        ("root_key_sha256", _) => "0".repeat(64),
        ("trusted_proxies", _) => "10.0.0.0/8 , ::1".to_owned(),
        ("allow_hosts", _) => "pay.example , *".to_owned(),
        ("cors_origins", _) => "https://app.example , *".to_owned(),
        ("redis_node_map", _) => "10.0.0.1:1=127.0.0.1:1 , 10.0.0.2:1=[::1]:1".to_owned(),
        ("sentinel_master" | "redis_user", _) => "a".to_owned(),
        ("redis_password_file" | "redis_ca_file" | "redis_client_cert" | "redis_client_key", _) => {
            "/dev/null".to_owned()
        }
        ("tls_cert" | "tls_key", _) => "/dev/null".to_owned(),
        ("rls_listen", _) => "127.0.0.1:0".to_owned(),
        ("currencies", _) => "POINTS=0 , BTC=8".to_owned(),
        ("base_path", _) => "/lockstep".to_owned(),
        (_, Some(default)) => default.to_owned(),
        (name, None) => panic!("give a value for {name}"),
    }
}

/// 2 is the exit code for values that are not understood. With these arguments each command understands its
/// settings and then ends at once, because it cannot work.
#[test]
fn every_setting_takes_blanks_around_its_value_and_may_be_empty() {
    let mut tried = 0;
    for (name, arguments) in [
        ("serve", ["--listen", "192.0.2.1:1", "--data-dir", "/dev/null/x"].as_slice()),
        ("healthcheck", &["--listen", "127.0.0.1:1"]),
        ("migrate", &["--data-dir", "/dev/null/x"]),
    ] {
        let command = Cli::command();
        let command = command.find_subcommand(name).unwrap();
        for setting in command.get_arguments() {
            let Some(variable) = setting.get_env().and_then(|variable| variable.to_str()) else {
                continue;
            };
            // A variable counts only where the command line does not have the setting.
            let flag = format!("--{}", setting.get_long().unwrap());
            let others: Vec<&str> =
                arguments.chunks(2).filter(|pair| pair[0] != flag).flatten().copied().collect();
            let arguments = [&[name], others.as_slice()].concat();
            for value in [String::new(), " \t".to_owned(), format!(" {} \t", value_of(setting))] {
                let (code, said) = end(&arguments, variable, &value);
                assert_ne!(code, 2, "{name}: {variable}={value:?}: {said}");
                tried += 1;
            }
            let (code, said) = end(&arguments, variable, "\u{1}\u{1}");
            let is_text = matches!(
                setting.get_id().as_str(),
                "redis_url"
                    | "sentinel_master"
                    | "redis_user"
                    | "redis_password_file"
                    | "redis_ca_file"
                    | "redis_client_cert"
                    | "redis_client_key"
                    | "data_dir"
                    | "log"
                    | "root_key_file"
                    | "tls_cert"
                    | "tls_key"
            );
            assert_eq!(code == 2, !is_text, "{name}: {variable}: {said}");
        }
    }
    assert!(tried >= 60, "{tried}");
}

#[test]
fn a_switch_takes_the_usual_booleans() {
    let arguments = ["--listen", "192.0.2.1:1", "--redis-url", "redis://127.0.0.1:1"];
    for (spelled, sentence) in [
        (["1", "true", "TRUE", "yes", "Yes", "y", "on", " On "].as_slice(), "cannot listen"),
        (&["0", "false", "False", "no", "NO", "n", "off", "", " "], "not a loopback address"),
    ] {
        for value in spelled {
            let (code, said) = end(&arguments, "LOCKSTEP_INSECURE", value);
            assert!(code == 1 && said.contains(sentence), "{value:?}: {said}");
        }
    }
    for value in ["2", "maybe", "true,false"] {
        let (code, said) = end(&arguments, "LOCKSTEP_INSECURE", value);
        assert!(
            code == 2 && said.contains("LOCKSTEP_INSECURE") | said.contains("--insecure"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn currencies_of_the_environment_may_have_blanks_between_them() {
    let refused = ["--listen", "192.0.2.1:1"];
    let (code, said) = end(&refused, "LOCKSTEP_CURRENCIES", " POINTS=0, BTC=8 ,X42=3 ");
    assert_eq!(code, 1, "{said}");
    let (code, said) = end(&refused, "LOCKSTEP_CURRENCIES", "POINTS=0, BTC=x");
    assert!(code == 2 && said.contains("0 to 18 decimals"), "{said}");
}
