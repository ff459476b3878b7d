//! `make bench`, first part: the cost of single calls, compared with two other servers.
//!
//! - The *bare axum server* parses and answers the same JSON without Redis: no service on axum can be
//!   cheaper.
//! - The *WATCH loop* is a transfer as it is usually written in application code: WATCH, read, MULTI
//!   and EXEC through a pool, repeated on a conflict. It keeps no history and no records.
//!
//! All of them are measured in one run and in every round one after the other, so that a slow moment
//! of the machine affects all alike. CPU time per request varies less than requests per second.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, io::Write, process::Command, sync::Arc};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use deadpool_redis::{Config, Pool, Runtime};
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{
    ACCOUNTS, CONNECTIONS, Measurement, Process, ROUND_DURATION, ROUNDS, Random, Scenario, Setup,
    measure, raw_script, read_answer, request, save, spread, transfer_body,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

/// The allocator of the service, so that the other servers have no disadvantage by theirs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The environment variable that makes this program one of the other servers.
const ROLE: &str = "LOCKSTEP_BENCH_ROLE";

const SOLD_OUT: &str = "reserve, sold out";

/// The rounds of each scenario, by its name.
type Results = BTreeMap<&'static str, Vec<Measurement>>;

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("bare") => serve(bare_server()),
        Ok("watch") => serve(watch_server(&std::env::var("REDIS").unwrap())),
        _ => compare(),
    }
}

#[tokio::main]
async fn compare() {
    let Setup { mut redis, lockstep } = Setup::start().await;
    let redis_pid = redis.process.child.id();
    let this = std::env::current_exe().unwrap();
    let bare = Process::start(Command::new(&this).env(ROLE, "bare"));
    let watch = Process::start(Command::new(&this).env(ROLE, "watch").env("REDIS", &redis.url));
    prepare(&lockstep.address, &mut redis.connection).await;

    let scenario = |name, process: &Process, requests| Scenario {
        expected: if name == SOLD_OUT { "HTTP/1.1 409" } else { "HTTP/1.1 20" },
        name,
        address: process.address.clone(),
        service_pid: process.child.id(),
        requests,
        callers: CONNECTIONS,
    };
    let scenarios = [
        scenario("transfer, bare axum server", &bare, transfer as fn(&mut Random) -> _),
        scenario("transfer, WATCH loop", &watch, transfer),
        scenario("transfer", &lockstep, transfer),
        scenario("transfer among 4 accounts, WATCH loop", &watch, transfer_hot),
        scenario("transfer among 4 accounts", &lockstep, transfer_hot),
        scenario("transfer with Idempotency-Key", &lockstep, transfer_once),
        scenario("reserve, bare axum server", &bare, reserve),
        scenario("reserve", &lockstep, reserve),
        scenario("reserve, all callers the same product", &lockstep, reserve_hot),
        scenario(SOLD_OUT, &lockstep, reserve_sold_out),
        scenario("lock and release, bare axum server", &bare, lock),
        scenario("lock and release", &lockstep, lock),
        scenario("rate limit, bare axum server", &bare, ratelimit),
        scenario("rate limit", &lockstep, ratelimit),
    ];
    let mut results = Results::new();
    let mut raw_costs: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for scenario in &scenarios {
            let measurement = measure(scenario, redis_pid).await;
            results.entry(scenario.name).or_default().push(measurement);
        }
        for transfers_per_script in [1, 16, 64] {
            let (cost, _) =
                raw_script(&mut redis.connection, redis_pid, transfers_per_script).await;
            raw_costs.entry(transfers_per_script).or_default().push(cost);
        }
    }
    print_scenarios(&scenarios, &results);
    print_raw_costs(&raw_costs);
    let ratios = print_ratios(&results);
    let all = json!({ "figures": results, "raw_redis_cpu_us": raw_costs, "ratios": ratios });
    save("compare", &all);
}

fn print_scenarios(scenarios: &[Scenario], results: &Results) {
    let cell = |rounds: &[Measurement], column: fn(&Measurement) -> f64| {
        let (low, median, high) = spread(rounds.iter().map(column).collect());
        format!("{median:.0} ({low:.0}-{high:.0})")
    };
    println!(
        "\n{CONNECTIONS} keep-alive connections, {ROUNDS} rounds of {} s; median (least-greatest)\n",
        ROUND_DURATION.as_secs()
    );
    println!(
        "| call | requests/s | p50 us | p99 us | service CPU us/request | Redis CPU us/request |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for scenario in scenarios {
        let rounds = &results[scenario.name];
        assert!(rounds.iter().all(|round| round.failed == 0), "{}: {rounds:?}", scenario.name);
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            scenario.name,
            cell(rounds, |round| round.per_second),
            cell(rounds, |round| round.p50_us),
            cell(rounds, |round| round.p99_us),
            cell(rounds, |round| round.service_cpu_us),
            cell(rounds, |round| round.redis_cpu_us),
        );
    }
}

fn print_raw_costs(raw_costs: &BTreeMap<usize, Vec<f64>>) {
    println!(
        "\n| transfer script by EVALSHA, pipelined, without Lockstep | Redis CPU us/transfer |"
    );
    println!("| --- | ---: |");
    for (transfers_per_script, costs) in raw_costs {
        let (low, median, high) = spread(costs.clone());
        println!("| {transfers_per_script} in each script | {median:.1} ({low:.1}-{high:.1}) |");
    }
}

/// Prints the ratios that the project has aims for, and returns them by name. A ratio is formed within
/// each round, so that noise of the machine affects both of its sides.
fn print_ratios(results: &Results) -> BTreeMap<String, (f64, f64, f64)> {
    let ratio = |one: &str, other: &str, column: fn(&Measurement) -> f64| {
        let pairs = results[one].iter().zip(&results[other]);
        spread(pairs.map(|(one, other)| column(one) / column(other)).collect())
    };
    let mut ratios = BTreeMap::new();
    let mut print = |name: String, (low, median, high), aim| {
        println!("| {name} | {median:.2} ({low:.2}-{high:.2}) | {aim} |");
        ratios.insert(name, (low, median, high));
    };
    println!("\n| ratio | median (least-greatest) | aim |\n| --- | ---: | --- |");
    for name in ["transfer", "reserve", "lock and release", "rate limit"] {
        let bare = format!("{name}, bare axum server");
        print(
            format!("service CPU per request, {name}: Lockstep to bare axum server"),
            ratio(name, &bare, |round| round.service_cpu_us),
            "at most 1.6",
        );
    }
    for name in ["transfer", "transfer among 4 accounts"] {
        let watch = format!("{name}, WATCH loop");
        print(
            format!("requests per second, {name}: Lockstep to WATCH loop"),
            ratio(name, &watch, |round| round.per_second),
            "at least 8",
        );
    }
    ratios
}

fn transfer(random: &mut Random) -> Vec<Vec<u8>> {
    vec![request("/accounts/transfer", "", &transfer_body(random, ACCOUNTS))]
}

/// A transfer among few accounts, for which the callers contend.
fn transfer_hot(random: &mut Random) -> Vec<Vec<u8>> {
    vec![request("/accounts/transfer", "", &transfer_body(random, 4))]
}

fn transfer_once(random: &mut Random) -> Vec<Vec<u8>> {
    let body = transfer_body(random, ACCOUNTS);
    let key = format!("Idempotency-Key: {}-{}\r\n", random.below(1 << 30), random.0);
    vec![request("/accounts/transfer", &key, &body)]
}

fn reserve(random: &mut Random) -> Vec<Vec<u8>> {
    let product = random.below(ACCOUNTS);
    let body = format!(
        "{{\"customer_id\":\"c\",\"product_id\":\"p{product}\",\"quantity\":1,\"ttl_ms\":2000}}"
    );
    vec![request("/inventory/reserve", "", &body)]
}

/// A reservation of the one product that all callers want.
fn reserve_hot(random: &mut Random) -> Vec<Vec<u8>> {
    reserve_of("hot", random)
}

/// A reservation of a product that has no stock, which is refused.
fn reserve_sold_out(random: &mut Random) -> Vec<Vec<u8>> {
    reserve_of("gone", random)
}

fn reserve_of(product: &str, random: &mut Random) -> Vec<Vec<u8>> {
    let customer = random.below(100_000);
    let body = format!(
        "{{\"customer_id\":\"c{customer}\",\"product_id\":\"{product}\",\"quantity\":1,\"ttl_ms\":60000}}"
    );
    vec![request("/inventory/reserve", "", &body)]
}

/// A lock and its release. The second request needs the lease of the first answer: `measure` writes it
/// over the placeholder at its end.
fn lock(random: &mut Random) -> Vec<Vec<u8>> {
    let lock = format!("l{}-{}", random.below(1 << 30), random.0);
    let lease = "LEASE".repeat(8).chars().take(38).collect::<String>();
    vec![
        request("/locks", "", &format!("{{\"lock\":\"{lock}\",\"owner\":\"me\",\"ttl_ms\":5000}}")),
        request("/locks/release", "", &format!("{{\"lock\":\"{lock}\",\"lease_id\":\"{lease}\"}}")),
    ]
}

fn ratelimit(random: &mut Random) -> Vec<Vec<u8>> {
    let key = random.below(ACCOUNTS);
    let body = format!(
        "{{\"key\":\"k{key}\",\"capacity\":1000000,\"refill_tokens\":1000,\"refill_interval_ms\":1000}}"
    );
    vec![request("/ratelimit", "", &body)]
}

/// Creates the accounts and products of all scenarios.
async fn prepare(address: &str, connection: &mut redis::aio::MultiplexedConnection) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut buffer = Vec::new();
    for (product, stock) in [("hot", 1_000_000_000), ("gone", 0)] {
        let body = format!(
            "{{\"product_id\":\"{product}\",\"name\":\"p\",\"price\":\"1\",\"initial_stock\":{stock}}}"
        );
        stream.write_all(&request("/inventory/products", "", &body)).await.unwrap();
        assert!(read_answer(&mut stream, &mut buffer).await.unwrap().starts_with(b"HTTP/1.1 201"));
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
            assert!(
                read_answer(&mut stream, &mut buffer).await.unwrap().starts_with(b"HTTP/1.1 201")
            );
        }
        let _: () = connection.set(format!("watch:a{number}"), 100_000_000_i64).await.unwrap();
    }
}

/// Serves a router on a free port, and prints its address.
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
struct TransferRequest {
    from_account: String,
    to_account: String,
    amount: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the bare server parses all that the service parses")]
struct ReserveRequest {
    customer_id: String,
    product_id: String,
    quantity: u64,
    ttl_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the bare server parses all that the service parses")]
struct LockRequest {
    lock: String,
    owner: Option<String>,
    ttl_ms: Option<u64>,
    lease_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the bare server parses all that the service parses")]
struct CheckRequest {
    key: String,
    capacity: u64,
    refill_tokens: u64,
    refill_interval_ms: u64,
}

#[derive(Serialize)]
struct Transferred {
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

fn transferred(request: TransferRequest) -> (StatusCode, Json<Transferred>) {
    let TransferRequest { from_account, to_account, amount } = request;
    let body = Transferred {
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
    (StatusCode::CREATED, Json(body))
}

/// The bare axum server.
fn bare_server() -> Router {
    Router::new()
        .route("/accounts/transfer", post(async |Json(request): Json<TransferRequest>| transferred(request)))
        .route(
            "/inventory/reserve",
            post(async |Json(request): Json<ReserveRequest>| {
                let line = json!({ "product_id": request.product_id, "quantity": request.quantity, "remaining": 9 });
                Json(json!({
                    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa", "customer_id": request.customer_id,
                    "status": "held", "lines": [line], "created_at": "2026-01-31T12:00:00.000Z",
                    "expires_at": "2026-01-31T12:00:00.000Z"
                }))
            }),
        )
        .route(
            "/locks",
            post(async |Json(request): Json<LockRequest>| {
                Json(json!({
                    "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa", "lock": request.lock, "owner": request.owner,
                    "mode": "exclusive", "fencing_token": 1_769_860_800_000_000_u64,
                    "expires_at": "2026-01-31T12:00:00.000Z", "expires_in_ms": 5000, "metadata": {}
                }))
            }),
        )
        .route(
            "/locks/release",
            post(async |Json(request): Json<LockRequest>| {
                Json(json!({ "lock": request.lock, "lease_id": request.lease_id, "released": true }))
            }),
        )
        .route(
            "/ratelimit",
            post(async |Json(request): Json<CheckRequest>| {
                Json(json!({
                    "key": request.key, "allowed": true, "limit": request.capacity, "remaining": 1,
                    "retry_after_ms": 0, "reset_after_ms": 1, "cost": 1
                }))
            }),
        )
}

/// The WATCH loop.
fn watch_server(redis: &str) -> Router {
    let pool = Config::from_url(redis).builder().unwrap();
    let pool = pool.max_size(CONNECTIONS).runtime(Runtime::Tokio1).build().unwrap();
    Router::new().route("/accounts/transfer", post(watch_transfer)).with_state(Arc::new(pool))
}

async fn watch_transfer(
    State(pool): State<Arc<Pool>>,
    Json(request): Json<TransferRequest>,
) -> Result<(StatusCode, Json<Transferred>), StatusCode> {
    let mut connection = pool.get().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let (from, to) =
        (format!("watch:{}", request.from_account), format!("watch:{}", request.to_account));
    let amount =
        (request.amount.parse::<f64>().map_err(|_| StatusCode::BAD_REQUEST)? * 100.0) as i64;
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
            Ok(Some(_)) => return Ok(transferred(request)),
            Ok(None) => {}
            Err(_) => return Err(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}
