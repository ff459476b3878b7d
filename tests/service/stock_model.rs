//! Reservations against a small model: every answer, and the whole state after every step, with
//! reservations that expire on the test's clock.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::{
    conservation::{persist, replace_after},
    support::{Process, Server, Service, race},
};

const PRODUCTS: usize = 3;
const CUSTOMERS: usize = 2;
const INITIAL: [i64; PRODUCTS] = [10, 8, 14];
/// The product with a limit for each customer and a low-stock threshold.
const LIMITED: usize = 0;
const MAX_PER_CUSTOMER: i64 = 6;
const LOW_STOCK: i64 = 5;
const MOST_ON_HAND: i64 = 1_000_000_000_000;
const MAX_EXTENSIONS: u64 = 10;
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

#[derive(Debug, Clone)]
enum Step {
    Reserve { customer: usize, order: Vec<(usize, i64)>, minutes: i64 },
    Confirm { reservation: Index },
    ConfirmPart { reservation: Index, part: Vec<(usize, Share)>, keep: bool },
    Cancel { reservation: Index },
    Extend { reservation: Index, minutes: i64 },
    Adjust { product: usize, delta: i64, stale: Option<bool> },
    Wait { minutes: i64 },
}

impl Step {
    /// The same step with every number of units multiplied by `unit`.
    fn times(mut self, unit: i64) -> Step {
        match &mut self {
            Step::Reserve { order, .. } => order.iter_mut().for_each(|line| line.1 *= unit),
            Step::Adjust { delta, .. } => *delta *= unit,
            _ => {}
        }
        self
    }
}

/// A share of the units that a line still holds.
#[derive(Debug, Clone, Copy)]
enum Share {
    Exactly,
    TooMuch,
    Half,
    One,
}

impl Share {
    fn of(self, left: i64) -> i64 {
        match self {
            Share::Exactly => left.max(1),
            Share::TooMuch => left + 1,
            Share::Half => (left / 2).max(1),
            Share::One => 1,
        }
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let order = prop::collection::vec((0..PRODUCTS, 1_i64..5), 1..4);
    let share = prop_oneof![
        3 => Just(Share::Exactly),
        1 => Just(Share::TooMuch),
        4 => Just(Share::Half),
        4 => Just(Share::One),
    ];
    let part =
        prop::collection::vec((prop_oneof![4 => Just(0_usize), 1 => 1..PRODUCTS], share), 1..3);
    let delta = prop_oneof![4 => 1_i64..6, 3 => -5_i64..0];
    let ends = prop_oneof![Just(45_i64), Just(100), Just(300)];
    let more = prop_oneof![3 => Just(45_i64), 3 => Just(200), 1 => Just(1430), 1 => Just(1500)];
    prop_oneof![
        12 => (0..CUSTOMERS, order, ends)
            .prop_map(|(customer, order, minutes)| Step::Reserve { customer, order, minutes }),
        4 => index().prop_map(|reservation| Step::Confirm { reservation }),
        8 => (index(), part, any::<bool>())
            .prop_map(|(reservation, part, keep)| Step::ConfirmPart { reservation, part, keep }),
        4 => index().prop_map(|reservation| Step::Cancel { reservation }),
        5 => (index(), more)
            .prop_map(|(reservation, minutes)| Step::Extend { reservation, minutes }),
        5 => (0..PRODUCTS, delta, proptest::option::weighted(0.3, any::<bool>()))
            .prop_map(|(product, delta, stale)| Step::Adjust { product, delta, stale }),
        5 => (1_i64..90).prop_map(|minutes| Step::Wait { minutes }),
    ]
}

/// The model.
#[derive(Default)]
struct Shelves {
    now: i64,
    /// What every number of units is multiplied by: 1, or so many that the most that a product may have on hand
    /// is within reach.
    unit: i64,
    on_hand: [i64; PRODUCTS],
    sold: [i64; PRODUCTS],
    reservations: Vec<Reservation>,
}

struct Reservation {
    id: String,
    customer: usize,
    lines: Vec<Line>,
    created_at: i64,
    expires_at: i64,
    extensions: u64,
    end: Option<&'static str>,
}

struct Line {
    product: usize,
    quantity: i64,
    confirmed: i64,
    released: i64,
}

/// All reasons to refuse a step; the service names one of them.
type Refusals = Vec<&'static str>;

impl Line {
    fn left(&self) -> i64 {
        self.quantity - self.confirmed - self.released
    }
}

impl Reservation {
    fn status(&self, now: i64) -> &'static str {
        self.end.unwrap_or(if self.expires_at <= now { "expired" } else { "held" })
    }

    fn line(&self, product: usize) -> Option<&Line> {
        self.lines.iter().find(|line| line.product == product)
    }

    /// The units of a product that the reservation still holds.
    fn held(&self, product: usize, now: i64) -> i64 {
        if self.status(now) == "held" { self.line(product).map_or(0, Line::left) } else { 0 }
    }

    /// The lines as the service returns them.
    fn answer(&self, now: i64) -> Value {
        let line = |line: &Line| {
            let held = self.held(line.product, now);
            json!({
                "product_id": name(line.product),
                "quantity": line.quantity,
                "confirmed": line.confirmed,
                "released": line.released + line.left() - held,
                "held": held,
            })
        };
        self.lines.iter().map(line).collect()
    }
}

impl Shelves {
    fn reserved(&self, product: usize) -> i64 {
        self.reservations.iter().map(|it| it.held(product, self.now)).sum()
    }

    fn available(&self, product: usize) -> i64 {
        self.on_hand[product] - self.reserved(product)
    }

    fn is_low(&self) -> bool {
        self.available(LIMITED) < LOW_STOCK * self.unit
    }

    /// The units that count against the limit of a customer.
    fn used(&self, customer: usize) -> i64 {
        let own = self.reservations.iter().filter(|it| it.customer == customer);
        own.map(|it| it.held(LIMITED, self.now) + it.line(LIMITED).map_or(0, |line| line.confirmed))
            .sum()
    }

    fn find(&self, index: &Index) -> Option<&Reservation> {
        self.reservations.get(place(index, self.reservations.len()))
    }

    /// The lines of a partial confirmation, mostly with units that the reservation has.
    fn requested(&self, index: &Index, part: &[(usize, Share)]) -> Vec<(usize, i64)> {
        let it = self.find(index);
        let line = |(which, share): &(usize, Share)| {
            let line = it.and_then(|it| it.lines.get(*which));
            (line.map_or(*which, |line| line.product), share.of(line.map_or(0, Line::left)))
        };
        part.iter().map(line).collect()
    }

    fn live(&mut self, index: &Index) -> Result<&mut Reservation, Refusals> {
        let (now, length) = (self.now, self.reservations.len());
        let Some(it) = self.reservations.get_mut(place(index, length)) else {
            return Err(vec!["reservation_not_found"]);
        };
        match it.status(now) {
            "held" => Ok(it),
            "expired" => Err(vec!["reservation_expired"]),
            _ => Err(vec!["reservation_closed"]),
        }
    }

    fn reserve(
        &mut self,
        customer: usize,
        order: &[(usize, i64)],
        minutes: i64,
    ) -> Result<(), Refusals> {
        let mut lines: Vec<Line> = Vec::new();
        for &(product, quantity) in order {
            match lines.iter_mut().find(|line| line.product == product) {
                Some(line) => line.quantity += quantity,
                None => lines.push(Line { product, quantity, confirmed: 0, released: 0 }),
            }
        }
        let mut refusals = Vec::new();
        if lines.iter().any(|line| line.quantity > self.available(line.product)) {
            refusals.push("insufficient_stock");
        }
        let limited = lines.iter().find(|line| line.product == LIMITED);
        if limited
            .is_some_and(|line| line.quantity + self.used(customer) > MAX_PER_CUSTOMER * self.unit)
        {
            refusals.push("customer_limit_exceeded");
        }
        if !refusals.is_empty() {
            return Err(refusals);
        }
        self.reservations.push(Reservation {
            id: String::new(),
            customer,
            lines,
            created_at: self.now,
            expires_at: self.now + minutes * MINUTE,
            extensions: 0,
            end: None,
        });
        Ok(())
    }

    fn confirm(
        &mut self,
        index: &Index,
        part: Option<&[(usize, Share)]>,
        keep: bool,
    ) -> Result<(), Refusals> {
        let requested = part.map(|part| self.requested(index, part));
        // More units than a product may have are no quantity, whatever the reservation.
        let units_of = |product: usize| {
            let lines = requested.iter().flatten().filter(|line| line.0 == product);
            lines.map(|line| line.1).sum::<i64>()
        };
        if (0..PRODUCTS).any(|product| units_of(product) > MOST_ON_HAND) {
            return Err(vec!["validation_failed"]);
        }
        let it = self.live(index)?;
        let all = || it.lines.iter().map(|line| (line.product, line.left())).collect();
        let mut sold = [0; PRODUCTS];
        for (product, quantity) in requested.unwrap_or_else(all) {
            sold[product] += quantity;
        }
        for (product, quantity) in sold.iter().enumerate() {
            if *quantity > it.line(product).map_or(0, Line::left) {
                return Err(vec!["confirm_exceeds_reserved"]);
            }
        }
        for line in &mut it.lines {
            line.confirmed += sold[line.product];
            if !keep {
                line.released += line.left();
            }
        }
        if it.lines.iter().all(|line| line.left() == 0) {
            it.end = Some("confirmed");
        }
        for (product, quantity) in sold.into_iter().enumerate() {
            self.on_hand[product] -= quantity;
            self.sold[product] += quantity;
        }
        Ok(())
    }

    fn apply(&mut self, step: &Step) -> Result<(), Refusals> {
        match *step {
            Step::Reserve { customer, ref order, minutes } => {
                self.reserve(customer, order, minutes)
            }
            Step::Confirm { ref reservation } => self.confirm(reservation, None, false),
            Step::ConfirmPart { ref reservation, ref part, keep } => {
                self.confirm(reservation, Some(part), keep)
            }
            Step::Cancel { ref reservation } => {
                let it = self.live(reservation)?;
                for line in &mut it.lines {
                    line.released += line.left();
                }
                it.end = Some("cancelled");
                Ok(())
            }
            Step::Extend { ref reservation, minutes } => {
                let end = self.now + more_ms(minutes);
                let it = self.live(reservation)?;
                if it.extensions >= MAX_EXTENSIONS || end > it.created_at + DAY {
                    return Err(vec!["extension_limit"]);
                }
                it.extensions += 1;
                it.expires_at = it.expires_at.max(end);
                Ok(())
            }
            Step::Adjust { product, delta, stale } => {
                let mut refusals = Vec::new();
                if stale == Some(true) {
                    refusals.push("quantity_stale");
                }
                if self.on_hand[product] + delta < self.reserved(product) {
                    refusals.push("stock_below_reserved");
                }
                if self.on_hand[product] + delta > MOST_ON_HAND {
                    refusals.push("stock_out_of_range");
                }
                if !refusals.is_empty() {
                    return Err(refusals);
                }
                self.on_hand[product] += delta;
                Ok(())
            }
            Step::Wait { minutes } => {
                self.now += minutes * MINUTE;
                Ok(())
            }
        }
    }
}

/// Half a minute away from every expiry, so that the duration of the test does not matter.
fn more_ms(minutes: i64) -> i64 {
    minutes * MINUTE + MINUTE / 2
}

/// The position of one of the last entries; past the end where there is none.
fn place(index: &Index, length: usize) -> usize {
    if length == 0 { 0 } else { length - 1 - index.index(length.min(4)) }
}

fn name(product: usize) -> String {
    format!("p{product}")
}

fn body_lines(lines: &[(usize, i64)]) -> Value {
    lines
        .iter()
        .map(|(product, quantity)| json!({ "product_id": name(*product), "quantity": quantity }))
        .collect()
}

/// Runs the same step as a call of the service.
async fn call(service: &Service, shelves: &Shelves, step: &Step) -> Value {
    let id = |index: &Index| shelves.find(index).map_or("res_none", |it| &it.id).to_owned();
    let (path, body) = match step {
        Step::Reserve { customer, order, minutes } => {
            let body = json!({
                "customer_id": format!("c{customer}"), "lines": body_lines(order),
                "ttl_ms": minutes * MINUTE
            });
            ("reserve", body)
        }
        Step::Confirm { reservation } => ("confirm", json!({ "reservation_id": id(reservation) })),
        Step::ConfirmPart { reservation, part, keep } => {
            let body = json!({
                "reservation_id": id(reservation),
                "lines": body_lines(&shelves.requested(reservation, part)),
                "remainder": if *keep { "keep" } else { "release" }
            });
            ("confirm", body)
        }
        Step::Cancel { reservation } => ("cancel", json!({ "reservation_id": id(reservation) })),
        Step::Extend { reservation, minutes } => {
            let body = json!({ "reservation_id": id(reservation), "ttl_ms": more_ms(*minutes) });
            ("extend", body)
        }
        Step::Adjust { product, delta, stale } => {
            let on_hand = shelves.on_hand[*product];
            // One more than there is may be more than a product can have, which is another refusal.
            let other = if on_hand < MOST_ON_HAND { on_hand + 1 } else { on_hand - 1 };
            let expected = stale.map(|stale| if stale { other } else { on_hand });
            let body = json!({
                "product_id": name(*product), "delta": delta, "reason": "counted",
                "expected_on_hand": expected
            });
            ("adjust", body)
        }
        Step::Wait { minutes } => {
            service.advance_ms(minutes * MINUTE);
            return Value::Null;
        }
    };
    let answer = service.post(&format!("/inventory/{path}"), body).await;
    assert!(answer.status.as_u16() < 500, "{step:?}: {:#}", answer.body);
    answer.body
}

/// Panics unless the remaining units in an answer are those of the model.
fn compare_answer(shelves: &Shelves, step: &Step, body: &Value) {
    match step {
        Step::Reserve { .. }
        | Step::Confirm { .. }
        | Step::ConfirmPart { .. }
        | Step::Cancel { .. } => {
            for line in body["lines"].as_array().unwrap() {
                let product = (0..PRODUCTS).find(|product| line["product_id"] == name(*product));
                let product = product.unwrap();
                let available = shelves.available(product);
                assert_eq!(line["remaining"], available, "{step:?}: {body:#}");
                let has_threshold = product == LIMITED;
                assert!(has_threshold || line.get("low_stock").is_none(), "{step:?}: {body:#}");
            }
        }
        Step::Adjust { product, .. } => {
            assert_eq!(body["available"], shelves.available(*product), "{step:?}: {body:#}");
            assert_eq!(body["on_hand"], shelves.on_hand[*product], "{step:?}: {body:#}");
        }
        Step::Extend { .. } | Step::Wait { .. } => {}
    }
}

/// The low-stock crossing that an answer reports, if any.
fn signal(step: &Step, answer: &Value) -> Option<bool> {
    if let Step::Adjust { product, .. } = step {
        assert!(*product == LIMITED || answer.get("low_stock").is_none(), "{step:?}: {answer:#}");
        return answer["low_stock"].as_bool();
    }
    let lines = answer["lines"].as_array()?;
    lines.iter().find(|line| line["product_id"] == name(LIMITED))?["low_stock"].as_bool()
}

/// Panics unless everything that the service returns is what the model expects.
async fn compare(service: &Service, shelves: &Shelves, step: &Step) {
    let integrity = service.get("/inventory/integrity").await.assert(200);
    assert_eq!(integrity["ok"], true, "after {step:?}: {integrity:#}");
    for product in 0..PRODUCTS {
        let answer =
            service.get(&format!("/inventory/products/{}", name(product))).await.assert(200);
        let (on_hand, reserved) = (shelves.on_hand[product], shelves.reserved(product));
        let sold = shelves.sold[product];
        let expected = [on_hand, reserved, on_hand - reserved, sold];
        let figures = ["on_hand", "reserved", "available", "sold"]
            .map(|figure| answer[figure].as_i64().unwrap());
        assert_eq!(figures, expected, "{} after {step:?}", name(product));
        let expected = json!({
            "product_id": name(product), "on_hand": on_hand, "reserved": reserved, "sold": sold,
            "ok": true
        });
        assert_eq!(integrity["products"][product], expected, "after {step:?}");
    }
    // The reads run at once, and are compared in order.
    let reads = shelves.reservations.iter().map(|it| {
        let (service, path) = (service.clone(), format!("/inventory/reservations/{}", it.id));
        tokio::spawn(async move { service.get(&path).await.assert(200) })
    });
    let reads: Vec<_> = reads.collect();
    for (it, answer) in shelves.reservations.iter().zip(reads) {
        let answer = answer.await.unwrap();
        assert_eq!(answer["status"], it.status(shelves.now), "{} after {step:?}", it.id);
        assert_eq!(answer["customer_id"], format!("c{}", it.customer), "{} after {step:?}", it.id);
        assert_eq!(answer["lines"], it.answer(shelves.now), "{} after {step:?}", it.id);
        assert_eq!(answer["extensions"], it.extensions, "{} after {step:?}", it.id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 30, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default()
    })]

    #[test]
    fn stock_agrees_with_a_model_after_every_step(
        steps in prop::collection::vec(steps(), 10..50),
        unit in prop_oneof![2 => Just(1), 1 => Just(MOST_ON_HAND / 16), 1 => Just(MOST_ON_HAND / 16 + 1)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Every step reads everything, so this test has a server of its own.
        static SERVER: LazyLock<Server> = LazyLock::new(Server::of_this_run);
        runtime.block_on(async {
            let service = Service::on_own_redis(&SERVER);
            let on_hand = INITIAL.map(|units| units * unit);
            let mut shelves = Shelves { on_hand, unit, ..Shelves::default() };
            for (product, stock) in on_hand.into_iter().enumerate() {
                let limited = product == LIMITED;
                let body = json!({
                    "product_id": name(product), "name": "x", "price": "1", "initial_stock": stock,
                    "low_stock": limited.then_some(LOW_STOCK * unit),
                    "max_per_customer": limited.then_some(MAX_PER_CUSTOMER * unit)
                });
                service.post("/inventory/products", body).await.assert(201);
            }
            // True where the last change left the stock low; `None` after an expiry and a read, because
            // only the service knows whether the expiry was written.
            let mut was_low = Some(shelves.is_low());
            for step in steps.into_iter().map(|step| step.times(unit)) {
                let found = call(&service, &shelves, &step).await;
                let count = shelves.reservations.len();
                let (found_low, before) = (shelves.is_low(), shelves.available(LIMITED));
                let sold = shelves.sold[LIMITED];
                let expected = shelves.apply(&step);
                let code = found["code"].as_str();
                let refusals = expected.err().unwrap_or_default();
                let agreed = code.map_or(refusals.is_empty(), |code| refusals.contains(&code));
                prop_assert!(agreed, "{:?}: {:?} expected, and {:#}", step, refusals, found);
                if shelves.reservations.len() > count {
                    let id = found["reservation_id"].as_str().unwrap().to_owned();
                    shelves.reservations.last_mut().unwrap().id = id;
                }
                if code.is_none() && !matches!(step, Step::Wait { .. }) {
                    compare_answer(&shelves, &step, &found);
                    let (is_low, said) = (shelves.is_low(), signal(&step, &found));
                    let moved = (before, sold)
                        != (shelves.available(LIMITED), shelves.sold[LIMITED]);
                    match was_low {
                        Some(was_low) if moved && (was_low == found_low || is_low == found_low) => {
                            let expected = (is_low != was_low).then_some(is_low);
                            prop_assert_eq!(said, expected, "{:?}: {:#}", step, found);
                        }
                        // The stock went down and up again without a report in between: both answers
                        // are right.
                        _ => prop_assert!(said.is_none_or(|said| said == is_low), "{:#}", found),
                    }
                    if moved {
                        was_low = Some(is_low);
                    } else if was_low != Some(found_low) {
                        was_low = None;
                    }
                }
                compare(&service, &shelves, &step).await;
            }
            Ok(())
        })?;
    }
}

/// Callers reserve and confirm under idempotency keys while the service is killed. A caller without an
/// answer sends again under the same key to the next process. In the end each order has been sold once.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_sells_each_unit_once() {
    let service = Service::new();
    service.add_product("cup", 300).await;
    let process = Arc::new(RwLock::new(Process::shared()));
    let answered = Arc::new(AtomicUsize::new(0));
    let tasks = race(16, |task| {
        let (process, answered, space) = (process.clone(), answered.clone(), service.space.clone());
        async move {
            for order in 0..15 {
                let body = json!({ "customer_id": "carol", "product_id": "cup", "quantity": 1 });
                let key = format!("order-{task}-{order}");
                let held = persist(&process, &space, "/inventory/reserve", &body, &key).await.body;
                let body = json!({ "reservation_id": held["reservation_id"] });
                let key = format!("{key}-confirm");
                persist(&process, &space, "/inventory/confirm", &body, &key).await;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    replace_after([50, 150], &answered, &process, Process::shared).await;
    tasks.await;
    assert_eq!(service.stock("cup").await, [60, 0, 60]);
    let books = service.get("/inventory/integrity").await.assert(200);
    assert_eq!((&books["ok"], &books["products"][0]["sold"]), (&json!(true), &json!(240)));
}
