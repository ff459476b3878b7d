//! Tests of `lockstep show`: every record that the service leaves in Redis can be read by a person.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
    time::Duration,
};

use lockstep::{
    cli::show_key,
    domains,
    store::{Access, AdminConnection, ShowError},
};
use redis::Commands;
use serde_json::{Value, json};

use crate::{
    catalogue::{Seeded, catalogue},
    embedded::Folder,
    support::{Process, Server, Service, all_keys, seed, wait_for},
};

async fn connect(server: &Server) -> AdminConnection {
    AdminConnection::connect(&server.url, &Access::default(), Duration::from_secs(20))
        .await
        .unwrap()
}

/// Runs `lockstep show`, and returns the JSON that it prints.
fn show(arguments: &[&str]) -> Value {
    let Output { status, stdout, stderr } = run(arguments);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lockstep")).arg("show").args(arguments).output().unwrap()
}

/// After one call of each operation, each under an idempotency key, no key is left that cannot be shown, and
/// each kind of the table has been there.
#[tokio::test]
async fn every_key_that_the_service_writes_is_shown() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    let mut connection = connect(&server).await;
    connection.register("a service").await.unwrap();
    for entry in catalogue() {
        let seeded = Seeded::new(&service, entry.needs).await;
        let answer = seeded.call(&entry).key("k").await;
        assert!(answer.status.is_success(), "{}: {:#}", entry.name, answer.body);
    }
    // Two kinds are there only while somebody waits for a lock.
    service.acquire("w", "me", 60_000).await.assert(201);
    let wait = json!({ "lock": "w", "owner": "you", "wait_ms": 20_000 });
    let waiting = tokio::spawn(service.post("/locks", wait).into_future());
    let queue = service.key("lock_queue", "w");
    let queued = async {
        while !redis::cmd("EXISTS").arg(&queue).query::<bool>(&mut server.connection()).unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), queued).await.expect("a waiter in the queue");
    let mut kinds = BTreeSet::new();
    for key in all_keys(&mut server.connection(), "*") {
        let shown = show_key(&mut connection, &key, 10).await;
        if key.starts_with("lockstep-data:") {
            assert_eq!(shown, Err(ShowError::DataKey(key)));
            continue;
        }
        let shown = shown.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(shown["key"], *key);
        let redis_type: String =
            redis::cmd("TYPE").arg(&key).query(&mut server.connection()).unwrap();
        assert_eq!(shown["type"], redis_type);
        assert!(!shown["value"].is_null(), "{shown:#}");
        if let Some((_, rest)) = key.split_once("}:") {
            kinds.insert(rest.split(':').next().unwrap().to_owned());
        } else {
            kinds.insert(key);
        }
    }
    let system = ["lockstep:format", "lockstep:migrations", "lockstep:services"];
    let known = domains::key_kinds().map(|known| known.kind).chain(system);
    assert_eq!(kinds, known.map(str::to_owned).collect());
    waiting.abort();
}

/// A page of an index is read in the order of its members, which needs one score for all of them, those of other
/// versions of the service among them.
#[tokio::test]
async fn every_name_in_an_index_has_the_same_score() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    for entry in catalogue() {
        Seeded::new(&service, entry.needs).await.call(&entry).await;
    }
    let connection = &mut server.connection();
    let mut seen = BTreeSet::new();
    for key in all_keys(connection, "lockstep:*:index:*") {
        let name = key.rsplit(':').next().unwrap().to_owned();
        let members: Vec<(String, f64)> = connection.zrange_withscores(&key, 0, -1).unwrap();
        // This one is read by its scores.
        if name != "lock_ends" {
            assert!(members.iter().all(|(_, score)| *score == 0.0), "{key}: {members:?}");
        }
        seen.insert(name);
    }
    assert!(seen.len() > 5, "{seen:?}");
}

/// Amounts beyond 2^53 are digits in another layout, which is shown alike.
#[tokio::test]
async fn money_is_shown_as_the_service_answers_it() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    let mut connection = connect(&server).await;
    for (a, b, unit) in [("a", "b", "10"), ("c", "d", "90071992547409.93")] {
        service.open(a, "0").await;
        service.open(b, "0").await;
        service.deposit(a, unit).await.assert(201);
        service.withdraw(a, "0.01").await.assert(201);
        service.deposit(a, "5").await.assert(201);
        let paid = service.transfer(a, b, "2.50").await.assert(201);
        service.reverse(paid["transaction_id"].as_str().unwrap(), Some("1")).await.assert(201);
        let hold = service.held(a, b, "1").await;
        service.capture(&hold, Some("0.4"), true).await.assert(201);
        let body = json!({ "account_id": b, "sweep_to": a });
        service.post("/accounts/close", body).await.assert(200);
        for id in [a, b] {
            let path = format!("/accounts/{id}/transactions");
            let told = service.get(&path).await.assert(200);
            let told = told["transactions"].as_array().unwrap().clone();
            let log = show_key(&mut connection, &service.key("postings", id), 100).await.unwrap();
            let shown = log["value"].as_array().unwrap();
            assert_eq!(
                (log["count"].as_u64().unwrap() as usize, shown.len()),
                (told.len(), told.len())
            );
            for (told, shown) in told.iter().zip(shown) {
                for same in [
                    "kind",
                    "direction",
                    "counterparty",
                    "description",
                    "metadata",
                    "transaction_id",
                ] {
                    assert_eq!(told[same], shown[same], "{same} of {shown:#}");
                }
                assert_eq!(decimal(&shown["amount"]), told["amount"]);
                assert_eq!(decimal(&shown["balance"]), told["balance_after"]);
                check_transaction(&service, &mut connection, &told["transaction_id"]).await;
            }
        }
    }
}

/// Compares a transaction as it is stored with that of the service's answer.
async fn check_transaction(service: &Service, connection: &mut AdminConnection, id: &Value) {
    let id = id.as_str().unwrap();
    let key = service.transactions_key(id);
    let stored = show_key(connection, &key, 1000).await.unwrap()["value"][id].clone();
    let told = service.get(&format!("/accounts/transactions/{id}")).await.assert(200);
    for same in ["kind", "from_account", "to_account", "currency", "description", "metadata"] {
        assert_eq!(stored[same], told[same], "{same} of {stored:#}");
    }
    for optional in ["hold_id", "reverses"] {
        assert_eq!(stored[optional].as_str().unwrap(), told[optional].as_str().unwrap_or_default());
    }
    for amount in ["amount", "reversed"] {
        assert_eq!(decimal(&stored[amount]), told[amount]);
    }
}

/// Minor units as dollars.
fn decimal(minor_units: &Value) -> String {
    let minor_units: i128 = minor_units.as_str().unwrap().parse().unwrap();
    format!("{}.{:02}", minor_units / 100, minor_units % 100)
}

/// Compares products, reservations, their holds and movements with what the service answers of them.
#[tokio::test]
async fn stock_is_shown_as_the_service_answers_it() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    let mut connection = connect(&server).await;
    let body = json!({
        "product_id": "cup", "name": "Cup \"7\"", "description": "white", "price": "7.90",
        "initial_stock": 1_000_000_000, "low_stock": 5, "max_per_customer": 900, "metadata": { "a": "b" }
    });
    service.post("/inventory/products", body).await.assert(201);
    let body = json!({ "product_id": "cup", "delta": -3, "reason": "lost", "reference": "shelf" });
    service.post("/inventory/adjust", body).await.assert(200);
    let reserved = service.reserve("cup", 300, 600_000).await.assert(201);
    let id = reserved["reservation_id"].as_str().unwrap();
    let body = json!({
        "reservation_id": id, "lines": [{ "product_id": "cup", "quantity": 100 }], "remainder": "keep"
    });
    service.post("/inventory/confirm", body).await.assert(200);

    let mut stored = async |kind: &str, id: &str| {
        show_key(&mut connection, &service.key(kind, id), 100).await.unwrap()["value"].take()
    };
    let product = stored("product", "cup").await;
    let told = service.get("/inventory/products/cup").await.assert(200);
    for same in [
        "on_hand",
        "reserved",
        "sold",
        "low_stock",
        "max_per_customer",
        "currency",
        "name",
        "description",
        "metadata",
        "version",
    ] {
        assert_eq!(product[same], told[same], "{same} of {product:#}");
    }
    assert_eq!((&product["initial"], &product["lost"]), (&json!(1_000_000_000), &json!(-3)));
    assert_eq!((&product["price"], &product["movements"]), (&json!("790"), &json!(4)));

    let reservation = stored("reservation", id).await;
    let told = service.get(&format!("/inventory/reservations/{id}")).await.assert(200);
    for same in ["status", "customer_id", "extensions"] {
        assert_eq!(reservation[same], told[same], "{same} of {reservation:#}");
    }
    let line = json!([{ "product_id": "cup", "quantity": 300, "confirmed": 100, "released": 0 }]);
    assert_eq!(reservation["lines"], line);

    let told = service.get("/inventory/products/cup/movements").await.assert(200);
    assert_eq!(stored("movements", "cup").await, told["movements"]);
    let holds = stored("product_holds", "cup").await;
    assert_eq!(holds[0]["member"], format!("200:{id}"));
    assert_eq!(holds[0]["score"], reservation["expires_at"]);
}

#[tokio::test]
async fn a_status_is_shown_by_its_name() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    let mut connection = connect(&server).await;
    let mut seen = Vec::new();
    for (id, direction) in
        [("a", None), ("b", Some("debits")), ("c", Some("credits")), ("d", Some("both"))]
    {
        service.open(id, "0").await;
        if let Some(direction) = direction {
            service.freeze(id, direction).await;
        }
        seen.push(status(&service, &mut connection, id).await);
    }
    service.close("a").await.assert(200);
    seen.push(status(&service, &mut connection, "a").await);
    assert_eq!(seen, ["open", "frozen_debits", "frozen_credits", "frozen_both", "closed"]);
}

async fn status(service: &Service, connection: &mut AdminConnection, id: &str) -> String {
    let shown = show_key(connection, &service.key("account", id), 1).await.unwrap();
    shown["value"]["status"].as_str().unwrap().to_owned()
}

/// A log shows its newest entries and a set its first members. What is left out is counted.
#[tokio::test]
async fn a_long_collection_is_cut_off() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    for cents in 1..=6 {
        service.transfer("alice", "bob", &format!("0.0{cents}")).await.assert(201);
        service.held("alice", "bob", "1").await;
    }
    let url = server.url.as_str();
    let show =
        |kind: &str| show(&[&service.key(kind, "alice"), "--redis-url", url, "--limit", "2"]);
    let log = show("postings");
    assert_eq!((&log["count"], &log["left_out"]), (&json!(7), &json!(5)));
    let amounts: Vec<_> = log["value"].as_array().unwrap().iter().map(|it| &it["amount"]).collect();
    assert_eq!(amounts, ["6", "5"]);
    let holds = show("account_holds");
    assert_eq!((&holds["count"], &holds["left_out"]), (&json!(6), &json!(4)));
    assert!(holds["value"][0]["member"].as_str().unwrap().starts_with("100:hold_"));
    assert!(holds["value"][0]["score"].is_u64());
    let index = self::show(&[&service.key("index", "accounts"), "--redis-url", url]);
    assert_eq!(index["left_out"], 0);
}

#[tokio::test]
async fn what_cannot_be_shown_is_one_sentence_and_a_failing_exit_code() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    service.open("alice", "1").await;
    let account = service.key("account", "alice");
    let unknown = service.key("thing", "1");
    let missing = service.key("account", "nobody");
    let wrong_type = service.key("account", "list");
    seed(&mut service.raw(), &wrong_type, "list", "1");
    let mut layouts = Vec::new();
    let record: Vec<u8> = service.raw().get(&account).unwrap();
    for (name, bytes) in [
        ("newer", [&[9], &record[1..]].concat()),
        ("short", record[..20].to_vec()),
        ("empty", Vec::new()),
        ("text", b"{\"credits\":\"1\"}".to_vec()),
    ] {
        let key = service.key("account", name);
        let () = service.raw().set(&key, bytes).unwrap();
        layouts.push((key, "holds a record whose layout this version does not know"));
    }
    let others = [
        ("alice".to_owned(), "is no key of the service"),
        (unknown, "this version has no keys of the kind thing"),
        (format!("lockstep-data:{{{}}}:x", service.space), "is a data key of callers"),
        (missing, "there is no key"),
        (wrong_type, "has another type than string"),
    ];
    for (key, sentence) in layouts.into_iter().chain(others) {
        expect_error(&[&key, "--redis-url", &server.url], sentence);
    }
    expect_error(&[&account, "--redis-url", "redis://127.0.0.1:1"], "refused");
    expect_error(&[&account, "--data-dir", "/nowhere"], "there is no data directory /nowhere");

    // Data of another format have other layouts; what names the format is shown.
    let () = service.raw().set("lockstep:format", r#"{"format":99}"#).unwrap();
    expect_error(&[&account, "--redis-url", &server.url], "the data have format 99");
    let format = show(&["lockstep:format", "--redis-url", &server.url]);
    assert_eq!(format["value"], json!({ "format": 99 }));
}

#[track_caller]
fn expect_error(arguments: &[&str], sentence: &str) {
    let Output { status, stdout, stderr } = run(arguments);
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.starts_with("lockstep: ") && text.contains(sentence), "{arguments:?}: {text}");
    assert!(stdout.is_empty());
}

/// With `--data-dir` it asks the server of the running service; without one it starts a server.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_server_is_asked_while_the_service_runs_and_afterwards() {
    let folder = Folder::new();
    let mut process = Process::start(&["--data-dir", folder.path()]);
    let body = json!({ "account_id": "alice", "initial_balance": "12.34" });
    process.post("main", "/accounts", &body, "k").await.unwrap().assert(201);
    let account = ["lockstep:{main}:account:alice", "--data-dir", folder.path()];
    let running = show(&account);
    assert_eq!(running["value"]["credits"], "1234");
    assert_eq!(running["expires_in_ms"], Value::Null);
    let once = show(&["lockstep:{main}:once:k", "--data-dir", folder.path()]);
    assert_eq!(once["value"]["reply"][0], "ok");
    assert!(once["expires_in_ms"].as_u64().unwrap() <= 86_400_000);

    process.signal(rustix::process::Signal::TERM);
    process.wait();
    assert_eq!(show(&account), running);
    // The server that was started for the reading has ended too.
    let lock = std::fs::File::open(format!("{}/lock", folder.path())).unwrap();
    let lock = &lock;
    wait_for("the lock of the data directory", || {
        rustix::fs::flock(lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()
    });
}
