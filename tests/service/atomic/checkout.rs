//! What it is for: many checkouts of one product and one account at once, with a coupon and a limit.
//! Each of them happens whole or not at all, so all four figures are the same number.

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

/// How many checkouts each of the four allows.
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

    /// In an order of its own for each number, so that none of the four is always the first to refuse.
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

    /// That many have happened, and nothing of any other.
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
        // Where nothing is used yet, one more than the limit is never possible.
        if sold > 0 {
            assert_eq!(answer.assert(200)["allowed"], false);
        }
        if left > 0 {
            assert_eq!(service.post("/ratelimit", ask(left)).await.assert(200)["allowed"], true);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_is_the_least_says_how_many_there_are() {
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

/// Checkouts race with others who want the same stock, money, coupons and room, each on its own.
#[tokio::test(flavor = "multi_thread")]
async fn single_calls_go_between_them_and_nothing_is_lost() {
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
    // 80 that want all four and 20 that want one of them: what is told to have happened is what has.
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
    let told = service.post("/ratelimit", limit).await.assert(200);
    let left = told["remaining"].as_u64().unwrap() + u64::from(told["allowed"] == true);
    assert_eq!(used + left, 60);
    assert!(taken.contains(&60), "one of them is used up: {taken:?}");
    assert_eq!(service.sum("USD"), 0);
}

/// In the order of a checkout.
const KINDS: [&str; 4] =
    ["ratelimit/check", "inventory/reserve", "counters/increment", "accounts/transfer"];

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_sell_exactly_what_there_is() {
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

/// 16 callers check out under keys while the service is killed twice; whoever has no answer asks the
/// next process under the same key.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_checks_each_out_once_and_whole() {
    let service = Service::new();
    let room = Room { stock: 300, money: 400, coupons: 300, limit: 300 };
    room.open(&service).await;
    let checkouts = survives(Process::shared, service.space.clone(), room);
    Audit::during(&service, checkouts).await;
    room.assert_sold(&service, 160).await;
}

/// The same with a server of its own, which the kernel ends with the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_with_its_own_server_checks_each_out_once_and_whole() {
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
    let told = async |path: &str, field: &str| {
        process.get("main", path).await.unwrap().assert(200)[field].clone()
    };
    assert_eq!(told("/inventory/products/cup", "reserved").await, 160);
    assert_eq!(told("/accounts/shop/balance", "balance").await, "160.00");
    assert_eq!(told("/counters/coupons", "value").await, 160);
    assert_eq!(told("/accounts/integrity", "currencies").await[0]["ok"], true);
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
