//! Many checkouts at once of one product and one account, with a coupon and a rate limit. Each happens
//! whole or not at all, so all four figures are the same number.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::{
    audit::Audit,
    conservation::{persist, replace_after},
    support::{Process, Service, operation, race, unique},
};

/// The number of checkouts that each of the four resources allows.
#[derive(Debug, Clone, Copy)]
struct Room {
    stock: u64,
    money: u64,
    coupons: u64,
    limit: u64,
}

impl Room {
    const WIDE: Room = Room { stock: 200, money: 200, coupons: 200, limit: 200 };

    async fn open(self, service: &Service) {
        service.add_product("cup", self.stock).await;
        service.open("dora", &self.money.to_string()).await;
        service.open("shop", "0").await;
    }

    /// The body of a checkout. The order of its operations depends on the number, so that none of the
    /// four is always the first to refuse.
    fn checkout(self, number: usize) -> Value {
        let mut operations = [
            operation(
                "ratelimit/check",
                json!({
                    "key": "dora", "algorithm": "sliding_window", "limit": self.limit,
                    "window_ms": 86_400_000
                }),
            ),
            operation(
                "inventory/reserve",
                json!({ "customer_id": "dora", "product_id": "cup", "quantity": 1, "ttl_ms": 86_400_000 }),
            ),
            operation("counters/increment", json!({ "counter": "coupons", "max": self.coupons })),
            operation(
                "accounts/transfer",
                json!({ "from_account": "dora", "to_account": "shop", "amount": "1" }),
            ),
        ];
        operations.rotate_left(number % 4);
        json!({ "operations": operations })
    }

    /// Panics unless exactly this number of checkouts has happened, and nothing of any other.
    async fn assert_sold(self, service: &Service, sold: u64) {
        assert_eq!(service.stock("cup").await, [self.stock, sold, self.stock - sold]);
        assert_eq!(service.balance("shop").await, format!("{sold}.00"));
        assert_eq!(service.balance("dora").await, format!("{}.00", self.money - sold));
        assert_eq!(service.counter("coupons").await.unsigned_abs(), sold);
        assert_eq!(service.sum("USD"), 0);
        let left = self.limit - sold;
        let ask = |cost: u64| {
            json!({
                "key": "dora", "algorithm": "sliding_window", "limit": self.limit, "cost": cost,
                "window_ms": 86_400_000, "on_deny": "200"
            })
        };
        let answer = service.post("/ratelimit", ask(left + 1)).await;
        // A rate limit that is not used yet refuses a cost above its limit, so it is not asked then.
        if sold > 0 {
            assert_eq!(answer.assert(200)["allowed"], false);
        }
        if left > 0 {
            assert_eq!(service.post("/ratelimit", ask(left)).await.assert(200)["allowed"], true);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scarcest_resource_limits_the_number_of_checkouts() {
    for (room, code) in [
        (Room { stock: 17, ..Room::WIDE }, "insufficient_stock"),
        (Room { money: 17, ..Room::WIDE }, "insufficient_funds"),
        (Room { coupons: 17, ..Room::WIDE }, "counter_limit_exceeded"),
        (Room { limit: 17, ..Room::WIDE }, "rate_limited"),
    ] {
        let service = Service::new();
        room.open(&service).await;
        let racing = async {
            let tasks = race(100, |number| {
                let body = room.checkout(number);
                service.post("/atomic", body)
            });
            tasks.await
        };
        let answers = Audit::during(&service, racing).await;
        let sold = answers.count(200);
        assert_eq!(sold, 17, "{room:?}");
        assert_eq!(answers.count_code(code), 83, "{room:?}");
        room.assert_sold(&service, 17).await;
    }
}

/// Checkouts race with single calls for the same stock, money, coupons and rate limit.
#[tokio::test(flavor = "multi_thread")]
async fn checkouts_and_single_calls_race_without_loss() {
    let service = Service::new();
    let room = Room { stock: 60, money: 60, coupons: 60, limit: 60 };
    room.open(&service).await;
    let tasks = race(160, |number| {
        let service = service.clone();
        let body = room.checkout(number);
        async move {
            let happened = |status: axum::http::StatusCode| usize::from(status.is_success());
            if number % 2 == 0 {
                return [happened(service.post("/atomic", body).await.status); 4];
            }
            let part = &body["operations"][number / 2 % 4];
            let name = part["operation"].as_str().unwrap();
            let path = if name == "ratelimit/check" { "/ratelimit" } else { &format!("/{name}") };
            let done = happened(service.post(path, part["input"].clone()).await.status);
            KINDS.map(|kind| if kind == name { done } else { 0 })
        }
    });
    let mut taken = [0; 4];
    for one in tasks.await {
        taken.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
    }
    // 80 callers want all four resources, and 20 want each of them alone. The state is the sum of the
    // calls that succeeded.
    let [_, reserved, _] = service.stock("cup").await;
    let counted = service.counter("coupons").await.unsigned_abs();
    let paid: u64 = service.balance("shop").await.trim_end_matches(".00").parse().unwrap();
    assert_eq!(
        taken[1..].iter().map(|sum| *sum as u64).collect::<Vec<_>>(),
        [reserved, counted, paid]
    );
    let used = taken[0] as u64;
    let mut limit = room.checkout(0)["operations"][0]["input"].clone();
    limit["on_deny"] = "200".into();
    let answer = service.post("/ratelimit", limit).await.assert(200);
    let left = answer["remaining"].as_u64().unwrap() + u64::from(answer["allowed"] == true);
    assert_eq!(used + left, 60);
    assert!(taken.contains(&60), "one of them is used up: {taken:?}");
    assert_eq!(service.sum("USD"), 0);
}

/// The operations of a checkout.
const KINDS: [&str; 4] =
    ["ratelimit/check", "inventory/reserve", "counters/increment", "accounts/transfer"];

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_sell_exactly_the_stock() {
    let service = Service::new();
    let room = Room { stock: 50, money: 61, coupons: 53, limit: 70 };
    room.open(&service).await;
    let processes = Arc::new([Process::shared(), Process::shared()]);
    let tasks = race(40, |task| {
        let (processes, space) = (Arc::clone(&processes), service.space.clone());
        async move {
            let mut sold = 0;
            for order in 0..5 {
                let number = task * 5 + order;
                let body = room.checkout(number);
                let key = format!("order-{number}");
                let answer =
                    processes[task % 2].post(&space, "/atomic", &body, &key).await.unwrap();
                match answer.status.as_u16() {
                    200 => sold += 1,
                    _ => assert_eq!(answer.body["code"], "insufficient_stock", "{:#}", answer.body),
                }
            }
            sold
        }
    });
    let sold: u64 = tasks.await.into_iter().sum();
    assert_eq!(sold, 50);
    room.assert_sold(&service, 50).await;
}

/// 16 callers check out under idempotency keys while the service is killed twice; a caller without an
/// answer sends again under the same key to the next process.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_completes_each_checkout_once() {
    let service = Service::new();
    let room = Room { stock: 300, money: 400, coupons: 300, limit: 300 };
    room.open(&service).await;
    let checkouts = survives(Process::shared, service.space.clone(), room);
    Audit::during(&service, checkouts).await;
    room.assert_sold(&service, 160).await;
}

/// The same with an embedded server, which the kernel ends with the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_with_its_own_server_completes_each_checkout_once() {
    let folder = std::env::temp_dir().join(unique("ls-"));
    let data = folder.to_str().unwrap().to_owned();
    let room = Room { stock: 300, money: 400, coupons: 300, limit: 300 };
    let start = || Process::start(&["--data-dir", &data]);
    {
        let process = start();
        let opening = json!({ "operations": [
            operation("inventory/add_product", json!({
                "product_id": "cup", "name": "c", "price": "1", "initial_stock": room.stock
            })),
            operation("accounts/open", json!({ "account_id": "dora", "initial_balance": "400" })),
            operation("accounts/open", json!({ "account_id": "shop" })),
        ] });
        process.post("main", "/atomic", &opening, "opening").await.unwrap().assert(200);
    }
    survives(start, "main".to_owned(), room).await;
    let process = start();
    let answer = async |path: &str, field: &str| {
        process.get("main", path).await.unwrap().assert(200)[field].clone()
    };
    assert_eq!(answer("/inventory/products/cup", "reserved").await, 160);
    assert_eq!(answer("/accounts/shop/balance", "balance").await, "160.00");
    assert_eq!(answer("/counters/coupons", "value").await, 160);
    assert_eq!(answer("/accounts/integrity", "currencies").await[0]["ok"], true);
    drop(process);
    std::fs::remove_dir_all(folder).unwrap();
}

async fn survives(start: impl Fn() -> Process, space: String, room: Room) {
    let process = Arc::new(RwLock::new(start()));
    let answered = Arc::new(AtomicUsize::new(0));
    let tasks = race(16, |task| {
        let (process, space, answered) = (process.clone(), space.clone(), answered.clone());
        async move {
            for order in 0..10 {
                let number = 10 * task + order;
                let (body, key) = (room.checkout(number), format!("order-{number}"));
                persist(&process, &space, "/atomic", &body, &key).await;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    replace_after([40, 100], &answered, &process, start).await;
    tasks.await;
}
