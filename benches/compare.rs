//! `make bench`: what a call costs, beside what it could cost at least and what people write today.
//!
//! Everything is measured in one run, in turns, so that a slow moment of the machine meets all of
//! them. CPU microseconds per operation are steadier than operations per second.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, io::Write, process::Command, sync::Arc};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use deadpool_redis::{Config, Pool, Runtime};
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{
    ACCOUNTS, CONNECTIONS, Figures, Numbers, Process, ROUND, ROUNDS, Setup, Subject, answer,
    measure, raw_script, request, save, spread, transfer_body,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

/// As the service has it, so that a floor is not dearer for its allocator alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROLE: &str = "LOCKSTEP_BENCH_ROLE";

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("floor") => serve(floor()),
        Ok("watch") => serve(watch_loop(&std::env::var("REDIS").unwrap())),
        _ => compare(),
    }
}

#[tokio::main]
async fn compare() {
    let Setup { redis, redis_url, lockstep, mut connection } = Setup::start().await;
    let this = std::env::current_exe().unwrap();
    let floor = Process::start(Command::new(&this).env(ROLE, "floor"));
    let watch = Process::start(Command::new(&this).env(ROLE, "watch").env("REDIS", &redis_url));
    prepare(&lockstep.address, &mut connection).await;

    let subject = |name, process: &Process, operation| Subject {
        expected: if name == SOLD_OUT { "HTTP/1.1 409" } else { "HTTP/1.1 20" },
        name,
        address: process.address.clone(),
        service: process.child.id(),
        operation,
        callers: CONNECTIONS,
    };
    let subjects = [
        subject("transfer: floor, axum without Redis", &floor, transfer as fn(&mut Numbers) -> _),
        subject("transfer: WATCH loop through a pool", &watch, transfer),
        subject("transfer", &lockstep, transfer),
        subject("transfer, 4 accounts: WATCH loop", &watch, transfer_hot),
        subject("transfer, 4 accounts", &lockstep, transfer_hot),
        subject("transfer with Idempotency-Key", &lockstep, transfer_once),
        subject("reserve: floor, axum without Redis", &floor, reserve),
        subject("reserve", &lockstep, reserve),
        subject("flash sale, one product", &lockstep, flash_sale),
        subject(SOLD_OUT, &lockstep, sold_out),
        subject("lock + release: floor, axum without Redis", &floor, lock),
        subject("lock + release", &lockstep, lock),
        subject("ratelimit: floor, axum without Redis", &floor, ratelimit),
        subject("ratelimit", &lockstep, ratelimit),
    ];
    let mut figures: BTreeMap<&str, Vec<Figures>> = BTreeMap::new();
    let mut raw: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for subject in &subjects {
            let measured = measure(subject, redis.child.id()).await;
            figures.entry(subject.name).or_default().push(measured);
        }
        for steps in [1, 16, 64] {
            let (cost, _) = raw_script(&mut connection, redis.child.id(), steps).await;
            raw.entry(steps).or_default().push(cost);
        }
    }
    report(&subjects, &figures, &raw);
}

fn report(
    subjects: &[Subject],
    figures: &BTreeMap<&str, Vec<Figures>>,
    raw: &BTreeMap<usize, Vec<f64>>,
) {
    let cell = |rounds: &[Figures], of: fn(&Figures) -> f64| {
        let (low, middle, high) = spread(rounds.iter().map(of).collect());
        format!("{middle:.0} ({low:.0}-{high:.0})")
    };
    println!(
        "\n{CONNECTIONS} keep-alive connections, {ROUNDS} rounds of {} s; median (least-most)\n",
        ROUND.as_secs()
    );
    println!("| what | ops/s | p50 us | p99 us | service CPU us/op | Redis CPU us/op |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for subject in subjects {
        let rounds = &figures[subject.name];
        assert!(rounds.iter().all(|round| round.failed == 0), "{}: {rounds:?}", subject.name);
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            subject.name,
            cell(rounds, |it| it.per_second),
            cell(rounds, |it| it.p50_us),
            cell(rounds, |it| it.p99_us),
            cell(rounds, |it| it.service_cpu_us),
            cell(rounds, |it| it.redis_cpu_us),
        );
    }
    println!("\n| the transfer script by raw EVALSHA, pipelined | Redis CPU us/op |");
    println!("| --- | ---: |");
    for (steps, costs) in raw {
        let (low, middle, high) = spread(costs.clone());
        println!("| {steps} in one script | {middle:.1} ({low:.1}-{high:.1}) |");
    }

    // Ratios round by round: what is noise for one of two is noise for the other.
    let ratio = |one: &str, other: &str, of: fn(&Figures) -> f64| {
        let pairs = figures[one].iter().zip(&figures[other]);
        spread(pairs.map(|(one, other)| of(one) / of(other)).collect())
    };
    println!("\n| ratio | median (least-most) | aim |\n| --- | ---: | --- |");
    let mut ratios = BTreeMap::new();
    for name in ["transfer", "reserve", "lock + release", "ratelimit"] {
        let floor = format!("{name}: floor, axum without Redis");
        let it = ratio(name, &floor, |it| it.service_cpu_us);
        println!(
            "| service CPU, {name} to its floor | {:.2} ({:.2}-{:.2}) | at most 1.6 |",
            it.1, it.0, it.2
        );
        ratios.insert(format!("service CPU, {name} to its floor"), it);
    }
    for (one, other) in [
        ("transfer", "transfer: WATCH loop through a pool"),
        ("transfer, 4 accounts", "transfer, 4 accounts: WATCH loop"),
    ] {
        let it = ratio(one, other, |it| it.per_second);
        println!(
            "| ops/s, {one} to the WATCH loop | {:.2} ({:.2}-{:.2}) | at least 8 |",
            it.1, it.0, it.2
        );
        ratios.insert(format!("ops/s, {one} to the WATCH loop"), it);
    }

    let all = json!({ "figures": figures, "raw_redis_cpu_us": raw, "ratios": ratios });
    save("compare", &all);
}

fn transfer(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    vec![request("/accounts/transfer", "", &transfer_body(numbers, ACCOUNTS))]
}

/// What a shop with few large accounts has: everybody pays to or from the same.
fn transfer_hot(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    vec![request("/accounts/transfer", "", &transfer_body(numbers, 4))]
}

fn transfer_once(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let body = transfer_body(numbers, ACCOUNTS);
    let key = format!("Idempotency-Key: {}-{}\r\n", numbers.below(1 << 30), numbers.0);
    vec![request("/accounts/transfer", &key, &body)]
}

fn reserve(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let product = numbers.below(ACCOUNTS);
    let body = format!(
        "{{\"customer_id\":\"c\",\"product_id\":\"p{product}\",\"quantity\":1,\"ttl_ms\":2000}}"
    );
    vec![request("/inventory/reserve", "", &body)]
}

/// Everybody wants the same product.
fn flash_sale(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    reserve_of("hot", numbers)
}

fn sold_out(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    reserve_of("gone", numbers)
}

fn reserve_of(product: &str, numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let customer = numbers.below(100_000);
    let body = format!(
        "{{\"customer_id\":\"c{customer}\",\"product_id\":\"{product}\",\"quantity\":1,\"ttl_ms\":60000}}"
    );
    vec![request("/inventory/reserve", "", &body)]
}

/// The second request needs the lease of the first: the caller puts it in the place of `LEASE`.
fn lock(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let lock = format!("l{}-{}", numbers.below(1 << 30), numbers.0);
    let lease = "LEASE".repeat(8).chars().take(38).collect::<String>();
    vec![
        request("/locks", "", &format!("{{\"lock\":\"{lock}\",\"owner\":\"me\",\"ttl_ms\":5000}}")),
        request("/locks/release", "", &format!("{{\"lock\":\"{lock}\",\"lease_id\":\"{lease}\"}}")),
    ]
}

fn ratelimit(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let key = numbers.below(ACCOUNTS);
    let body = format!(
        "{{\"key\":\"k{key}\",\"capacity\":1000000,\"refill_tokens\":1000,\"refill_interval_ms\":1000}}"
    );
    vec![request("/ratelimit", "", &body)]
}

const SOLD_OUT: &str = "flash sale, sold out";

async fn prepare(address: &str, connection: &mut redis::aio::MultiplexedConnection) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut buffer = Vec::new();
    for (product, stock) in [("hot", 1_000_000_000), ("gone", 0)] {
        let body = format!(
            "{{\"product_id\":\"{product}\",\"name\":\"p\",\"price\":\"1\",\"initial_stock\":{stock}}}"
        );
        stream.write_all(&request("/inventory/products", "", &body)).await.unwrap();
        assert!(answer(&mut stream, &mut buffer).await.unwrap().starts_with(b"HTTP/1.1 201"));
    }
    for number in 0..ACCOUNTS {
        for (path, body) in [
            (
                "/accounts",
                format!("{{\"account_id\":\"a{number}\",\"initial_balance\":\"1000000\"}}"),
            ),
            (
                "/inventory/products",
                format!(
                    "{{\"product_id\":\"p{number}\",\"name\":\"p\",\"price\":\"1\",\"initial_stock\":1000000}}"
                ),
            ),
        ] {
            stream.write_all(&request(path, "", &body)).await.unwrap();
            assert!(answer(&mut stream, &mut buffer).await.unwrap().starts_with(b"HTTP/1.1 201"));
        }
        let _: () = connection.set(format!("watch:a{number}"), 100_000_000_i64).await.unwrap();
    }
}

#[tokio::main]
async fn serve(app: Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    let listener =
        axum::serve::ListenerExt::tap_io(listener, |stream| stream.set_nodelay(true).unwrap());
    axum::serve(listener, app).await.unwrap();
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    from_account: String,
    to_account: String,
    amount: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a floor parses what the service parses")]
struct Reservation {
    customer_id: String,
    product_id: String,
    quantity: u64,
    ttl_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a floor parses what the service parses")]
struct Lock {
    lock: String,
    owner: Option<String>,
    ttl_ms: Option<u64>,
    lease_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "a floor parses what the service parses")]
struct Check {
    key: String,
    capacity: u64,
    refill_tokens: u64,
    refill_interval_ms: u64,
}

#[derive(Serialize)]
struct Moved {
    transaction_id: &'static str,
    from_account: String,
    to_account: String,
    amount: String,
    currency: &'static str,
    from_balance: &'static str,
    to_balance: &'static str,
    status: &'static str,
    description: Option<String>,
    metadata: BTreeMap<String, String>,
    created_at: &'static str,
}

fn moved(order: Order) -> (StatusCode, Json<Moved>) {
    let Order { from_account, to_account, amount } = order;
    let moved = Moved {
        transaction_id: "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
        from_account,
        to_account,
        amount,
        currency: "USD",
        from_balance: "1000000.00",
        to_balance: "1000000.00",
        status: "completed",
        description: None,
        metadata: BTreeMap::new(),
        created_at: "2026-01-31T12:00:00.000Z",
    };
    (StatusCode::CREATED, Json(moved))
}

/// The same JSON in and out, and no Redis: what no service on axum can be cheaper than.
fn floor() -> Router {
    Router::new()
        .route("/accounts/transfer", post(async |Json(order): Json<Order>| moved(order)))
        .route(
            "/inventory/reserve",
            post(async |Json(order): Json<Reservation>| {
                let line = json!({ "product_id": order.product_id, "quantity": order.quantity, "remaining": 9 });
                Json(json!({
                    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa", "customer_id": order.customer_id,
                    "status": "held", "lines": [line], "created_at": "2026-01-31T12:00:00.000Z",
                    "expires_at": "2026-01-31T12:00:00.000Z"
                }))
            }),
        )
        .route(
            "/locks",
            post(async |Json(order): Json<Lock>| {
                Json(json!({
                    "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa", "lock": order.lock, "owner": order.owner,
                    "mode": "exclusive", "fencing_token": 1_769_860_800_000_000_u64,
                    "expires_at": "2026-01-31T12:00:00.000Z", "expires_in_ms": 5000, "metadata": {}
                }))
            }),
        )
        .route(
            "/locks/release",
            post(async |Json(order): Json<Lock>| {
                Json(json!({ "lock": order.lock, "lease_id": order.lease_id, "released": true }))
            }),
        )
        .route(
            "/ratelimit",
            post(async |Json(order): Json<Check>| {
                Json(json!({
                    "key": order.key, "allowed": true, "limit": order.capacity, "remaining": 1,
                    "retry_after_ms": 0, "reset_after_ms": 1, "cost": 1
                }))
            }),
        )
}

/// A transfer as it is written today: read, judge, MULTI/EXEC, and again if somebody was faster.
fn watch_loop(redis: &str) -> Router {
    let pool = Config::from_url(redis).builder().unwrap();
    let pool = pool.max_size(CONNECTIONS).runtime(Runtime::Tokio1).build().unwrap();
    Router::new().route("/accounts/transfer", post(watch_transfer)).with_state(Arc::new(pool))
}

async fn watch_transfer(
    State(pool): State<Arc<Pool>>,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Json<Moved>), StatusCode> {
    let mut connection = pool.get().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let (from, to) =
        (format!("watch:{}", order.from_account), format!("watch:{}", order.to_account));
    let amount = (order.amount.parse::<f64>().map_err(|_| StatusCode::BAD_REQUEST)? * 100.0) as i64;
    loop {
        let attempt: redis::RedisResult<Option<Value>> = async {
            redis::cmd("WATCH").arg(&from).arg(&to).exec_async(&mut connection).await?;
            let balances: (i64, i64) = connection.mget((&from, &to)).await?;
            let done: Option<(String, String)> = redis::pipe()
                .atomic()
                .set(&from, balances.0 - amount)
                .set(&to, balances.1 + amount)
                .query_async(&mut connection)
                .await?;
            Ok(done.map(|_| Value::Null))
        }
        .await;
        match attempt {
            Ok(Some(_)) => return Ok(moved(order)),
            Ok(None) => {}
            Err(_) => return Err(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}
