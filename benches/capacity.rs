//! `make bench`, fourth part: the bytes that calls leave in memory and in the append-only file. The tables in
//! `docs/capacity.md` are what it prints.
//!
//! - Calls of each kind through Lockstep, first one after the other and then 64 at a time, which share scripts
//!   and so write less to the file.
//! - Transfers by the script alone, filed at 1, 100 and 1,000 a second: the transactions of a second share a
//!   hash, so the room of a transaction depends on how many there are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    CONNECTIONS, Random, Redis, read_answer, request, save,
    script::{RawCall, RawScript, send},
    start_lockstep, two_accounts,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

/// Calls that are made one after the other, and calls that are made 64 at a time.
const ALONE: u64 = 2_000;
const TOGETHER: u64 = 20_000;
/// Accounts, products and customers that calls choose from.
const RESOURCES: u64 = 200;
/// Transfers of one rate.
const TRANSFERS: usize = 20_000;
/// Transfers a second.
const RATES: [u64; 3] = [1, 100, 1000];
/// The default of `--transaction-ttl-ms`, in seconds.
const TRANSACTION_TTL_S: u64 = 90 * 86_400;

/// One kind of call, and what each of them leaves.
struct Kind {
    name: &'static str,
    leaves: &'static str,
    /// The path, headers and body of the n-th call.
    request: fn(u64) -> Vec<u8>,
}

const KINDS: [Kind; 11] = [
    Kind { name: "open an account", leaves: "an account", request: account },
    Kind { name: "transfer", leaves: "a transaction and two postings", request: transfer },
    Kind {
        name: "transfer with Idempotency-Key",
        leaves: "the same and an idempotency record",
        request: transfer_once,
    },
    Kind { name: "hold", leaves: "a hold", request: hold },
    Kind { name: "add a product", leaves: "a product and its first movement", request: product },
    Kind { name: "reserve, one line", leaves: "a reservation and a movement", request: reserve },
    Kind { name: "acquire a lock", leaves: "a lock", request: lock },
    Kind { name: "token bucket", leaves: "a limit", request: bucket },
    Kind {
        name: "sliding window, a key of its own",
        leaves: "a limit with one admission",
        request: window,
    },
    Kind { name: "sliding window, 200 keys", leaves: "an admission", request: admission },
    Kind { name: "increment a counter", leaves: "a counter", request: counter },
];

/// Bytes that a call leaves.
struct Room {
    memory: f64,
    file_alone: f64,
    file_together: f64,
}

#[tokio::main]
async fn main() {
    let arguments =
        ["--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"];
    let mut redis = Redis::start(&arguments).await;
    let calls = calls(&mut redis).await;
    let rates = transfers_at_rates(&mut redis).await;
    save("capacity", &json!({ "calls": calls, "transfers": rates }));
}

/// Measures and prints each kind of call.
async fn calls(redis: &mut Redis) -> Value {
    println!(
        "\n| call | leaves | bytes of memory | bytes of append-only file, alone | the same, {CONNECTIONS} at a time |"
    );
    println!("| --- | --- | ---: | ---: | ---: |");
    let mut rows = serde_json::Map::new();
    for kind in KINDS {
        redis::cmd("FLUSHALL").exec_async(&mut redis.connection).await.unwrap();
        // One for each: a service ends when the format of its data is gone.
        let lockstep = start_lockstep(env!("CARGO_BIN_EXE_lockstep"), &redis.url);
        for seed in [seed_account, seed_product] {
            make(&lockstep.address, seed, 0..RESOURCES, 1).await;
        }
        let Room { memory, file_alone, file_together } =
            room(redis, &lockstep.address, kind.request).await;
        println!(
            "| {} | {} | {memory:.0} | {file_alone:.0} | {file_together:.0} |",
            kind.name, kind.leaves
        );
        rows.insert(kind.name.to_owned(), json!([memory, file_alone, file_together]));
    }
    Value::Object(rows)
}

async fn room(redis: &mut Redis, address: &str, request: fn(u64) -> Vec<u8>) -> Room {
    // The first calls make lists and sets that the later ones only lengthen.
    make(address, request, 0..RESOURCES, CONNECTIONS as u64).await;
    let before = (redis.memory().await, redis.append_only().await);
    make(address, request, RESOURCES..RESOURCES + ALONE, 1).await;
    let between = redis.append_only().await;
    let end = RESOURCES + ALONE + TOGETHER;
    make(address, request, RESOURCES + ALONE..end, CONNECTIONS as u64).await;
    let after = (redis.memory().await, redis.append_only().await);
    Room {
        memory: (after.0 - before.0) / (ALONE + TOGETHER) as f64,
        file_alone: (between - before.1) / ALONE as f64,
        file_together: (after.1 - between) / TOGETHER as f64,
    }
}

/// Makes the calls of these numbers over so many connections, and panics where one is not successful.
async fn make(
    address: &str,
    request: fn(u64) -> Vec<u8>,
    numbers: std::ops::Range<u64>,
    callers: u64,
) {
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let address = address.to_owned();
        let numbers = numbers.clone().skip(caller as usize).step_by(callers as usize);
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = Vec::new();
            for number in numbers {
                stream.write_all(&request(number)).await.unwrap();
                let answer = read_answer(&mut stream, &mut buffer).await.unwrap();
                let text = String::from_utf8_lossy(answer);
                assert!(text.starts_with("HTTP/1.1 20"), "{text}");
            }
        });
    }
    tasks.join_all().await;
}

fn seed_account(number: u64) -> Vec<u8> {
    let body = json!({ "account_id": format!("acct-{number:06}"), "initial_balance": "1000000" });
    request("/accounts", "", &body.to_string())
}

fn seed_product(number: u64) -> Vec<u8> {
    let body = json!({
        "product_id": format!("prod-{number:06}"), "name": "Espresso cup", "price": "7.90",
        "initial_stock": 1_000_000
    });
    request("/inventory/products", "", &body.to_string())
}

fn account(number: u64) -> Vec<u8> {
    request("/accounts", "", &json!({ "account_id": format!("more-{number:06}") }).to_string())
}

fn transfer_body(number: u64) -> String {
    let (from, to) = two_accounts(&mut Random(number), RESOURCES);
    let body = json!({
        "from_account": format!("acct-{from:06}"), "to_account": format!("acct-{to:06}"), "amount": "2.50",
        "description": "lunch"
    });
    body.to_string()
}

fn transfer(number: u64) -> Vec<u8> {
    request("/accounts/transfer", "", &transfer_body(number))
}

/// The key is as long as a UUID.
fn transfer_once(number: u64) -> Vec<u8> {
    let key = format!("Idempotency-Key: {number:036}\r\n");
    request("/accounts/transfer", &key, &transfer_body(number))
}

fn hold(number: u64) -> Vec<u8> {
    let (from, to) = two_accounts(&mut Random(number), RESOURCES);
    let body = json!({
        "from_account": format!("acct-{from:06}"), "to_account": format!("acct-{to:06}"), "amount": "2.50",
        "ttl_ms": 3_600_000
    });
    request("/accounts/hold", "", &body.to_string())
}

fn product(number: u64) -> Vec<u8> {
    let body = json!({
        "product_id": format!("more-{number:06}"), "name": "Espresso cup", "price": "7.90",
        "initial_stock": 100
    });
    request("/inventory/products", "", &body.to_string())
}

fn reserve(number: u64) -> Vec<u8> {
    let (customer, product) = two_accounts(&mut Random(number), RESOURCES);
    let body = json!({
        "customer_id": format!("cust-{customer:06}"), "product_id": format!("prod-{product:06}"),
        "quantity": 1, "ttl_ms": 3_600_000
    });
    request("/inventory/reserve", "", &body.to_string())
}

fn lock(number: u64) -> Vec<u8> {
    let body =
        json!({ "lock": format!("lock-{number:06}"), "owner": "worker-7", "ttl_ms": 3_600_000 });
    request("/locks", "", &body.to_string())
}

fn bucket(number: u64) -> Vec<u8> {
    let body = json!({
        "key": format!("user-{number:06}"), "capacity": 50, "refill_tokens": 1,
        "refill_interval_ms": 3_600_000
    });
    request("/ratelimit", "", &body.to_string())
}

fn window_body(key: String) -> Vec<u8> {
    let body = json!({
        "key": key, "algorithm": "sliding_window", "limit": 10_000, "window_ms": 3_600_000
    });
    request("/ratelimit", "", &body.to_string())
}

fn window(number: u64) -> Vec<u8> {
    window_body(format!("user-{number:06}"))
}

fn admission(number: u64) -> Vec<u8> {
    window_body(format!("user-{:06}", number % RESOURCES))
}

fn counter(number: u64) -> Vec<u8> {
    request(
        "/counters/increment",
        "",
        &json!({ "counter": format!("hits-{number:06}") }).to_string(),
    )
}

/// Measures and prints the room of transactions and postings, and what they take in all.
async fn transfers_at_rates(redis: &mut Redis) -> Value {
    println!(
        "\n| transfers a second | bytes of a transaction | bytes of a posting | append-only file of a day | transactions of 90 days | postings of a day |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut rows = Vec::new();
    for rate in RATES {
        let [transaction, posting, file] = transfers_at(redis, rate).await;
        let giga = |bytes: f64| bytes / 1e9;
        println!(
            "| {rate} | {transaction:.0} | {posting:.0} | {:.2} GB | {:.1} GB | {:.2} GB |",
            giga(file * (rate * 86_400) as f64),
            giga(transaction * (rate * TRANSACTION_TTL_S) as f64),
            giga(posting * (2 * rate * 86_400) as f64),
        );
        rows.push(
            json!({ "rate": rate, "transaction": transaction, "posting": posting, "file": file }),
        );
    }
    Value::Array(rows)
}

/// Returns the bytes of memory of a transaction and of a posting, and the bytes of append-only file of a
/// transfer, where so many happen in a second.
async fn transfers_at(redis: &mut Redis, rate: u64) -> [f64; 3] {
    let (open, transfer) =
        (RawScript::present("accounts/open"), RawScript::present("accounts/transfer"));
    redis::cmd("FLUSHALL").exec_async(&mut redis.connection).await.unwrap();
    for script in [&open, &transfer] {
        script.load(&mut redis.connection).await;
    }
    let mut random = Random(rate);
    let opened: Vec<_> =
        (0..RESOURCES).map(|number| RawCall { from: number, ..random_call(&mut random) }).collect();
    send(&mut redis.connection, opened.chunks(20).map(|calls| open.command(calls))).await;
    // The hash of the second in which the accounts were opened is no hash of transfers.
    remove_transactions(redis).await;
    let before = (redis.memory().await, redis.append_only().await);
    for start in (0..TRANSFERS).step_by(100) {
        let commands = (start..start + 100).map(|number| {
            let second = 1_795_705_451 + number as u64 / rate;
            transfer.command(&[RawCall { second, ..random_call(&mut random) }])
        });
        send(&mut redis.connection, commands).await;
    }
    let after = (settled_memory(redis).await, redis.append_only().await);
    remove_transactions(redis).await;
    let without = redis.memory().await;
    let transfers = TRANSFERS as f64;
    [
        (after.0 - without) / transfers,
        (without - before.0) / transfers / 2.0,
        (after.1 - before.1) / transfers,
    ]
}

/// A call by chance, with ids of a usual length.
fn random_call(random: &mut Random) -> RawCall {
    RawCall { accounts: "account-", ..RawCall::random(random, RESOURCES) }
}

/// Removes the transactions, and returns when Redis has made its table of keys smaller.
async fn remove_transactions(redis: &mut Redis) {
    let mut keys = redis::cmd("KEYS");
    let keys: Vec<String> =
        keys.arg("lockstep:*:transactions:*").query_async(&mut redis.connection).await.unwrap();
    for keys in keys.chunks(1000) {
        redis::cmd("DEL").arg(keys).exec_async(&mut redis.connection).await.unwrap();
    }
    settled_memory(redis).await;
}

/// Returns the memory of Redis once it does not change any more: tables of keys change their size in the
/// background.
async fn settled_memory(redis: &mut Redis) -> f64 {
    let mut last = redis.memory().await;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let memory = redis.memory().await;
        if (memory - last).abs() < 10_000.0 {
            return memory;
        }
        last = memory;
    }
}
