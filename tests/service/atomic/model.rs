//! Random calls of `POST /atomic` against a model that applies their operations in order or not at all:
//! every answer, and the whole state after each call. After a refusal, every key is byte for byte as
//! before.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Server, Service, operation};

const ACCOUNTS: usize = 3;
const PRODUCTS: usize = 2;
const COUNTERS: usize = 2;
/// A token bucket, and a sliding window after it. Neither frees anything while this test runs.
const LIMITS: usize = 2;
const LIMIT: i64 = 30;
const LOCKS: usize = 2;
const STOCK: i64 = 12;
const FUNDS: i64 = 2000;
const DAY: u64 = 86_400_000;

#[derive(Debug, Clone)]
enum Step {
    Transfer { from: usize, to: usize, amount: i64 },
    Deposit { account: usize, amount: i64 },
    Withdraw { account: usize, amount: i64 },
    Hold { from: usize, to: usize, amount: i64 },
    Capture { hold: usize, amount: i64, last: bool },
    Release { hold: usize },
    Reserve { lines: Vec<(usize, i64)> },
    Confirm { reservation: usize },
    Cancel { reservation: usize },
    Adjust { product: usize, delta: i64 },
    Up { counter: usize, by: i64 },
    Down { counter: usize, by: i64 },
    Set { counter: usize, value: i64 },
    Check { limit: usize, cost: i64 },
    Unlock { lock: usize, own: bool },
}

impl Step {
    /// The same step with a hold or reservation that exists before the call; `None` where there is
    /// none. Other tests use unknown ids.
    fn of(&self, world: &World) -> Option<Step> {
        let mut step = self.clone();
        match &mut step {
            Step::Capture { hold, .. } | Step::Release { hold } => {
                *hold = hold.checked_rem(world.holds.len())?;
            }
            Step::Confirm { reservation } | Step::Cancel { reservation } => {
                *reservation = reservation.checked_rem(world.reservations.len())?;
            }
            _ => {}
        }
        Some(step)
    }
}

#[derive(Debug, Clone)]
struct Call {
    steps: Vec<Step>,
    dry_run: bool,
}

fn steps() -> impl Strategy<Value = Step> {
    let two = (0..ACCOUNTS, 1..ACCOUNTS).prop_map(|(one, apart)| (one, (one + apart) % ACCOUNTS));
    let two = || two.clone();
    // Mostly small amounts, because otherwise hardly any call would succeed.
    let amount = || prop_oneof![8 => 1_i64..300, 1 => 1_i64..2500];
    let counter = || 0..COUNTERS;
    // An index into the existing holds or reservations; see [`Step::of`].
    let index = || 0..1000_usize;
    let lines = prop::collection::vec((0..PRODUCTS, 1_i64..3), 1..4);
    prop_oneof![
        8 => (two(), amount()).prop_map(|((from, to), amount)| Step::Transfer { from, to, amount }),
        4 => (0..ACCOUNTS, amount()).prop_map(|(account, amount)| Step::Deposit { account, amount }),
        3 => (0..ACCOUNTS, amount()).prop_map(|(account, amount)| Step::Withdraw { account, amount }),
        5 => (two(), amount()).prop_map(|((from, to), amount)| Step::Hold { from, to, amount }),
        4 => (index(), 1_i64..200, any::<bool>())
            .prop_map(|(hold, amount, last)| Step::Capture { hold, amount, last }),
        2 => index().prop_map(|hold| Step::Release { hold }),
        6 => lines.prop_map(|lines| Step::Reserve { lines }),
        3 => index().prop_map(|reservation| Step::Confirm { reservation }),
        3 => index().prop_map(|reservation| Step::Cancel { reservation }),
        4 => (0..PRODUCTS, prop_oneof![3 => 1_i64..6, 1 => -4_i64..0])
            .prop_map(|(product, delta)| Step::Adjust { product, delta }),
        5 => (counter(), 1_i64..20).prop_map(|(counter, by)| Step::Up { counter, by }),
        3 => (counter(), 1_i64..12).prop_map(|(counter, by)| Step::Down { counter, by }),
        1 => (counter(), 0_i64..50).prop_map(|(counter, value)| Step::Set { counter, value }),
        5 => (0..LIMITS, 1_i64..5).prop_map(|(limit, cost)| Step::Check { limit, cost }),
        2 => (0..LOCKS, proptest::bool::weighted(0.9))
            .prop_map(|(lock, own)| Step::Unlock { lock, own }),
    ]
}

fn calls() -> impl Strategy<Value = Call> {
    (prop::collection::vec(steps(), 2..8), proptest::bool::weighted(0.15))
        .prop_map(|(steps, dry_run)| Call { steps, dry_run })
}

/// The model. Money is in cents.
#[derive(Debug, Clone, Default)]
struct World {
    balances: [i64; ACCOUNTS],
    holds: Vec<Hold>,
    on_hand: [i64; PRODUCTS],
    reservations: Vec<Reservation>,
    counters: [i64; COUNTERS],
    used: [i64; LIMITS],
}

#[derive(Debug, Clone)]
struct Hold {
    id: String,
    from: usize,
    to: usize,
    left: i64,
}

#[derive(Debug, Clone)]
struct Reservation {
    id: String,
    units: [i64; PRODUCTS],
    open: bool,
}

/// The maximum of each counter.
const MOST: i64 = 60;

type Refusal = &'static str;

impl World {
    fn held(&self, account: usize) -> i64 {
        self.holds.iter().filter(|hold| hold.from == account).map(|hold| hold.left).sum()
    }

    fn available(&self, account: usize) -> i64 {
        self.balances[account] - self.held(account)
    }

    fn reserved(&self, product: usize) -> i64 {
        let open = self.reservations.iter().filter(|it| it.open);
        open.map(|it| it.units[product]).sum()
    }

    fn spend(&mut self, account: usize, amount: i64) -> Result<(), Refusal> {
        if self.available(account) < amount {
            return Err("insufficient_funds");
        }
        self.balances[account] -= amount;
        Ok(())
    }

    /// Applies a step: its answer as far as the model knows it, or its refusal.
    fn apply(&mut self, step: &Step) -> Result<Value, Refusal> {
        match *step {
            Step::Transfer { from, to, amount } => {
                self.spend(from, amount)?;
                self.balances[to] += amount;
                Ok(self.parties(from, to))
            }
            Step::Deposit { account, amount } => {
                self.balances[account] += amount;
                Ok(self.party(account))
            }
            Step::Withdraw { account, amount } => {
                self.spend(account, amount)?;
                Ok(self.party(account))
            }
            Step::Hold { from, to, amount } => {
                if self.available(from) < amount {
                    return Err("insufficient_funds");
                }
                self.holds.push(Hold { id: String::new(), from, to, left: amount });
                Ok(json!({ "remaining": money(amount), "available": money(self.available(from)) }))
            }
            Step::Capture { hold, amount, last } => {
                let hold = &mut self.holds[hold];
                if hold.left == 0 {
                    return Err("hold_closed");
                }
                if amount > hold.left {
                    return Err("capture_exceeds_hold");
                }
                hold.left = if last { 0 } else { hold.left - amount };
                let (from, to) = (hold.from, hold.to);
                self.balances[from] -= amount;
                self.balances[to] += amount;
                Ok(self.parties(from, to))
            }
            Step::Release { hold } => {
                let hold = &mut self.holds[hold];
                if hold.left == 0 {
                    return Err("hold_closed");
                }
                hold.left = 0;
                Ok(json!({ "status": "released", "remaining": "0.00" }))
            }
            Step::Reserve { ref lines } => {
                let mut units = [0; PRODUCTS];
                lines.iter().for_each(|(product, quantity)| units[*product] += quantity);
                let short = |product: usize| {
                    units[product] > self.on_hand[product] - self.reserved(product)
                };
                if (0..PRODUCTS).any(|product| units[product] > 0 && short(product)) {
                    return Err("insufficient_stock");
                }
                self.reservations.push(Reservation { id: String::new(), units, open: true });
                Ok(json!({ "status": "held" }))
            }
            Step::Confirm { reservation } | Step::Cancel { reservation } => {
                let it = &mut self.reservations[reservation];
                if !it.open {
                    return Err("reservation_closed");
                }
                it.open = false;
                let units = it.units;
                if matches!(step, Step::Cancel { .. }) {
                    return Ok(json!({ "status": "cancelled" }));
                }
                (0..PRODUCTS).for_each(|product| self.on_hand[product] -= units[product]);
                Ok(json!({ "status": "confirmed" }))
            }
            Step::Adjust { product, delta } => {
                if self.on_hand[product] + delta < self.reserved(product) {
                    return Err("stock_below_reserved");
                }
                self.on_hand[product] += delta;
                Ok(json!({ "on_hand": self.on_hand[product], "reserved": self.reserved(product) }))
            }
            Step::Up { counter, by } if self.counters[counter] + by > MOST => {
                Err("counter_limit_exceeded")
            }
            Step::Down { counter, by } if self.counters[counter] < by => {
                Err("counter_below_minimum")
            }
            Step::Up { counter, by } => Ok(self.count(counter, self.counters[counter] + by)),
            Step::Down { counter, by } => Ok(self.count(counter, self.counters[counter] - by)),
            Step::Set { counter, value } => Ok(self.count(counter, value)),
            Step::Check { limit, cost } => {
                if self.used[limit] + cost > LIMIT {
                    return Err("rate_limited");
                }
                self.used[limit] += cost;
                Ok(json!({ "allowed": true, "remaining": LIMIT - self.used[limit] }))
            }
            // A repeated release within a minute succeeds again.
            Step::Unlock { own: true, .. } => Ok(json!({ "released": true })),
            Step::Unlock { own: false, .. } => Err("lease_not_owner"),
        }
    }

    fn parties(&self, from: usize, to: usize) -> Value {
        json!({ "from_balance": money(self.balances[from]), "to_balance": money(self.balances[to]) })
    }

    fn party(&self, account: usize) -> Value {
        json!({
            "balance": money(self.balances[account]), "available": money(self.available(account))
        })
    }

    fn count(&mut self, counter: usize, value: i64) -> Value {
        let previous = std::mem::replace(&mut self.counters[counter], value);
        json!({ "value": value, "previous": previous, "applied": value - previous })
    }

    fn written(&self, step: &Step, leases: &[String]) -> Value {
        let account = |account: usize| format!("a{account}");
        let counter = |counter: usize| format!("c{counter}");
        match step {
            Step::Transfer { from, to, amount } => {
                let input = json!({
                    "from_account": account(*from), "to_account": account(*to),
                    "amount": money(*amount)
                });
                operation("accounts/transfer", input)
            }
            Step::Deposit { account: of, amount } => {
                let input = json!({ "account_id": account(*of), "amount": money(*amount) });
                operation("accounts/deposit", input)
            }
            Step::Withdraw { account: of, amount } => {
                let input = json!({ "account_id": account(*of), "amount": money(*amount) });
                operation("accounts/withdraw", input)
            }
            Step::Hold { from, to, amount } => {
                let input = json!({
                    "from_account": account(*from), "to_account": account(*to),
                    "amount": money(*amount), "ttl_ms": DAY
                });
                operation("accounts/hold", input)
            }
            Step::Capture { hold, amount, last } => {
                let id = &self.holds[*hold].id;
                let input = json!({ "hold_id": id, "amount": money(*amount), "final": last });
                operation("accounts/capture", input)
            }
            Step::Release { hold } => {
                let id = &self.holds[*hold].id;
                operation("accounts/release", json!({ "hold_id": id }))
            }
            Step::Reserve { lines } => {
                let lines: Value = lines
                    .iter()
                    .map(|(product, quantity)| {
                        json!({ "product_id": format!("p{product}"), "quantity": quantity })
                    })
                    .collect();
                let input = json!({ "customer_id": "carol", "lines": lines, "ttl_ms": DAY });
                operation("inventory/reserve", input)
            }
            Step::Confirm { reservation } => {
                let id = &self.reservations[*reservation].id;
                operation("inventory/confirm", json!({ "reservation_id": id }))
            }
            Step::Cancel { reservation } => {
                let id = &self.reservations[*reservation].id;
                operation("inventory/cancel", json!({ "reservation_id": id }))
            }
            Step::Adjust { product, delta } => {
                let reason = if *delta > 0 { "received" } else { "lost" };
                let product = format!("p{product}");
                let input = json!({ "product_id": product, "delta": delta, "reason": reason });
                operation("inventory/adjust", input)
            }
            Step::Up { counter: of, by } => {
                let input = json!({ "counter": counter(*of), "by": by, "max": MOST });
                operation("counters/increment", input)
            }
            Step::Down { counter: of, by } => {
                operation("counters/decrement", json!({ "counter": counter(*of), "by": by }))
            }
            Step::Set { counter: of, value } => {
                operation("counters/set", json!({ "counter": counter(*of), "value": value }))
            }
            Step::Check { limit: 0, cost } => {
                let input = json!({
                    "key": "k", "cost": cost, "capacity": LIMIT, "refill_tokens": 1,
                    "refill_interval_ms": 30 * DAY
                });
                operation("ratelimit/check", input)
            }
            Step::Check { cost, .. } => {
                let input = json!({
                    "key": "k", "cost": cost, "algorithm": "sliding_window", "limit": LIMIT,
                    "window_ms": DAY
                });
                operation("ratelimit/check", input)
            }
            Step::Unlock { lock, own } => {
                let lease = if *own { leases[*lock].as_str() } else { "lease_of_a_stranger" };
                let input = json!({ "lock": format!("l{lock}"), "lease_id": lease });
                operation("locks/release", input)
            }
        }
    }
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Panics unless the whole state that the service returns is that of the model.
async fn compare(service: &Service, world: &World) {
    for account in 0..ACCOUNTS {
        let expected = [world.balances[account], world.available(account), world.held(account)];
        assert_eq!(service.funds(&format!("a{account}")).await, expected.map(money));
    }
    for product in 0..PRODUCTS {
        let (on_hand, reserved) = (world.on_hand[product], world.reserved(product));
        let expected = [on_hand, reserved, on_hand - reserved].map(|units| units.unsigned_abs());
        assert_eq!(service.stock(&format!("p{product}")).await, expected);
    }
    for counter in 0..COUNTERS {
        assert_eq!(service.counter(&format!("c{counter}")).await, world.counters[counter]);
    }
    let books = service.get("/accounts/integrity").await.assert(200);
    assert_eq!(books["currencies"][0]["ok"], true, "{books:#}");
    assert_eq!(service.get("/inventory/integrity").await.assert(200)["ok"], true);
}

/// Runs one call, and panics unless the answer and the state are those of the model.
async fn run(service: &Service, world: &mut World, leases: &[String], call: &Call) {
    let steps: Vec<Step> = call.steps.iter().filter_map(|step| step.of(world)).collect();
    if steps.len() < 2 {
        return;
    }
    let operations: Vec<Value> = steps.iter().map(|step| world.written(step, leases)).collect();
    let mut next = world.clone();
    let expected: Result<Vec<Value>, (usize, Refusal)> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| next.apply(step).map_err(|code| (index, code)))
        .collect();

    let before = service.snapshot();
    let body = json!({ "operations": operations, "dry_run": call.dry_run });
    let answer = service.post("/atomic", body).await;
    let expected = match expected {
        Ok(expected) => expected,
        Err((index, code)) => {
            let found = (&answer.body["code"], &answer.body["operation_index"]);
            assert_eq!(found, (&json!(code), &json!(index)), "{steps:#?}\n{:#}", answer.body);
            return service.assert_unchanged(&before);
        }
    };
    let answer = answer.assert(200);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), steps.len());
    for (expected, result) in expected.iter().zip(results) {
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&result["body"][field], value, "{field} of {result:#}\n{steps:#?}");
        }
    }
    if call.dry_run {
        return service.assert_unchanged(&before);
    }
    let ids = |operation: &'static str, field: &'static str| {
        let of_it = results.iter().filter(move |result| result["operation"] == operation);
        of_it.map(move |result| result["body"][field].as_str().unwrap().to_owned())
    };
    let new = next.holds.iter_mut().filter(|hold| hold.id.is_empty());
    new.zip(ids("accounts/hold", "hold_id")).for_each(|(hold, id)| hold.id = id);
    let new = next.reservations.iter_mut().filter(|it| it.id.is_empty());
    new.zip(ids("inventory/reserve", "reservation_id")).for_each(|(it, id)| it.id = id);
    *world = next;
    compare(service, world).await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default()
    })]

    #[test]
    fn all_or_none_agrees_with_a_model(
        calls in prop::collection::vec(calls(), 5..20),
        funds in prop_oneof![
            3 => Just(FUNDS),
            // Just below the borders of the layouts of records and of doubles, which the calls then cross.
            1 => Just(1_000_000_000_000_000 - FUNDS / 10),
            1 => Just((1 << 53) - FUNDS / 10),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        static SERVER: LazyLock<Server> = LazyLock::new(Server::of_this_run);
        runtime.block_on(async {
            let service = Service::on_own_redis(&SERVER);
            let mut world = World {
                balances: [funds; ACCOUNTS], on_hand: [STOCK; PRODUCTS], ..World::default()
            };
            for account in 0..ACCOUNTS {
                service.open(&format!("a{account}"), &money(funds)).await;
            }
            for product in 0..PRODUCTS {
                service.add_product(&format!("p{product}"), STOCK.unsigned_abs()).await;
            }
            let mut leases = Vec::new();
            for lock in 0..LOCKS {
                let lease = service.acquire(&format!("l{lock}"), "me", DAY).await.assert(201);
                leases.push(lease["lease_id"].as_str().unwrap().to_owned());
            }
            for call in &calls {
                run(&service, &mut world, &leases, call).await;
            }
        });
    }
}
