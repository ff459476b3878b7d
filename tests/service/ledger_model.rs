//! All operations of accounts against a small model: every answer, and the whole state after every
//! step, with holds that expire on the test's clock.

use std::sync::LazyLock;

use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use crate::{
    audit::Audit,
    support::{Server, Service},
};

/// The number of accounts of the model; the index after them is the external account.
const ACCOUNTS: usize = 3;
const OUTSIDE: usize = ACCOUNTS;
const MOST: i128 = 10_i128.pow(28) - 1;
const MINUTE: i64 = 60_000;

#[derive(Debug, Clone)]
enum Step {
    Transfer { from: usize, to: usize, amount: i128 },
    Deposit { account: usize, amount: i128 },
    Withdraw { account: usize, amount: i128 },
    Hold { from: usize, to: usize, amount: i128, minutes: i64 },
    Capture { hold: Index, share: Share, last: bool },
    Release { hold: Index },
    Extend { hold: Index, minutes: i64 },
    Reverse { transaction: Index, share: Share },
    Freeze { account: usize, direction: Direction },
    Unfreeze { account: usize, direction: Direction },
    Update { account: usize, overdraft: Option<i128>, max: Option<Option<i128>> },
    Close { account: usize, sweep_to: Option<usize> },
    Wait { minutes: i64 },
}

/// A share of the remaining amount.
#[derive(Debug, Clone, Copy)]
enum Share {
    /// The call names no amount.
    Unnamed,
    /// The call names exactly the remaining amount.
    Exactly,
    /// The call names one unit more than that.
    TooMuch,
    Half,
    Some(i128),
}

impl Share {
    fn amount(self, left: i128) -> Option<i128> {
        match self {
            Share::Unnamed => None,
            Share::Exactly => Some(left.max(1)),
            Share::TooMuch => Some((left + 1).min(MOST)),
            Share::Half => Some((left / 2).max(1)),
            Share::Some(amount) => Some(amount),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Debits,
    Credits,
    Both,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Direction::Debits => "debits",
            Direction::Credits => "credits",
            Direction::Both => "both",
        }
    }

    fn debits(self) -> bool {
        !matches!(self, Direction::Credits)
    }

    fn credits(self) -> bool {
        !matches!(self, Direction::Debits)
    }
}

/// Small amounts, and amounts at the limits of doubles, of the two layouts of records, of the parts of big numbers in Lua, and of
/// digits.
fn amounts() -> impl Strategy<Value = i128> {
    let near = |number: i128| (-1_i128..=1).prop_map(move |offset| number + offset);
    prop_oneof![
        9 => 1_i128..4,
        2 => near(10_i128.pow(14)),
        3 => near(10_i128.pow(15)),
        2 => near(1 << 53),
        2 => near(10_i128.pow(27)),
        1 => (0_i128..2).prop_map(|offset| MOST - offset),
        2 => 1_i128..10_i128.pow(20),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let account = || 0..ACCOUNTS;
    // Two accounts, which are rarely the same.
    let two = || {
        let apart = prop_oneof![1 => Just(0), 12 => 1..ACCOUNTS];
        (account(), apart).prop_map(|(one, apart)| (one, (one + apart) % ACCOUNTS))
    };
    let share = || {
        prop_oneof![
            2 => Just(Share::Unnamed),
            2 => Just(Share::Exactly),
            1 => Just(Share::TooMuch),
            4 => Just(Share::Half),
            1 => amounts().prop_map(Share::Some),
        ]
    };
    let some_amount = || proptest::option::weighted(0.6, amounts());
    let minutes = || prop_oneof![Just(45_i64), Just(100), Just(300)];
    let index = any::<Index>;
    let direction =
        || prop_oneof![Just(Direction::Debits), Just(Direction::Credits), Just(Direction::Both)];
    let limits = (account(), some_amount(), proptest::option::of(some_amount()));
    prop_oneof![
        6 => (two(), amounts())
            .prop_map(|((from, to), amount)| Step::Transfer { from, to, amount }),
        6 => (account(), amounts()).prop_map(|(account, amount)| Step::Deposit { account, amount }),
        3 => (account(), amounts()).prop_map(|(account, amount)| Step::Withdraw { account, amount }),
        12 => (two(), amounts(), minutes())
            .prop_map(|((from, to), amount, minutes)| Step::Hold { from, to, amount, minutes }),
        12 => (index(), share(), any::<bool>())
            .prop_map(|(hold, share, last)| Step::Capture { hold, share, last }),
        3 => index().prop_map(|hold| Step::Release { hold }),
        3 => (index(), minutes()).prop_map(|(hold, minutes)| Step::Extend { hold, minutes }),
        5 => (index(), share())
            .prop_map(|(transaction, share)| Step::Reverse { transaction, share }),
        1 => (account(), direction())
            .prop_map(|(account, direction)| Step::Freeze { account, direction }),
        2 => (account(), direction())
            .prop_map(|(account, direction)| Step::Unfreeze { account, direction }),
        3 => limits.prop_map(|(account, overdraft, max)| Step::Update { account, overdraft, max }),
        1 => (account(), proptest::option::of(account()))
            .prop_map(|(account, sweep_to)| Step::Close { account, sweep_to }),
        5 => (1_i64..90).prop_map(|minutes| Step::Wait { minutes }),
    ]
}

/// The model.
#[derive(Default)]
struct Books {
    now: i64,
    accounts: Vec<Account>,
    holds: Vec<Hold>,
    transactions: Vec<Transaction>,
}

#[derive(Default, Clone)]
struct Account {
    credits: i128,
    debits: i128,
    overdraft: i128,
    max: Option<i128>,
    debits_frozen: bool,
    credits_frozen: bool,
    closed: bool,
    version: u64,
    postings: u64,
}

struct Hold {
    id: String,
    from: usize,
    to: usize,
    amount: i128,
    captured: i128,
    released: i128,
    expires_at: i64,
    end: Option<&'static str>,
}

struct Transaction {
    id: String,
    from: usize,
    to: usize,
    amount: i128,
    reversed: i128,
    is_reversal: bool,
}

type Refusal = &'static str;

impl Account {
    fn balance(&self) -> i128 {
        self.credits - self.debits
    }

    fn status(&self) -> (&'static str, Value) {
        match (self.closed, self.debits_frozen, self.credits_frozen) {
            (true, ..) => ("closed", Value::Null),
            (_, false, false) => ("open", Value::Null),
            (_, true, true) => ("frozen", json!("both")),
            (_, true, _) => ("frozen", json!("debits")),
            (_, _, true) => ("frozen", json!("credits")),
        }
    }
}

impl Transaction {
    fn left(&self) -> i128 {
        if self.is_reversal { 0 } else { self.amount - self.reversed }
    }
}

impl Hold {
    fn left(&self) -> i128 {
        self.amount - self.captured - self.released
    }

    fn status(&self, now: i64) -> &'static str {
        self.end.unwrap_or(if self.expires_at <= now { "expired" } else { "open" })
    }
}

impl Books {
    fn held(&self, account: usize) -> i128 {
        let open = |hold: &&Hold| hold.from == account && hold.status(self.now) == "open";
        self.holds.iter().filter(open).map(Hold::left).sum()
    }

    /// Refuses a movement that the accounts do not allow; `freed` is the amount that a capture no
    /// longer holds.
    fn refuse(&self, from: usize, to: usize, amount: i128, freed: i128) -> Result<(), Refusal> {
        let (payer, payee) = (&self.accounts[from], &self.accounts[to]);
        for (account, frozen) in [(payer, payer.debits_frozen), (payee, payee.credits_frozen)] {
            if account.closed {
                return Err("account_closed");
            }
            if frozen {
                return Err("account_frozen");
            }
        }
        let held = self.held(from) - freed;
        if from != OUTSIDE && payer.balance() + payer.overdraft - held < amount {
            return Err("insufficient_funds");
        }
        if to != OUTSIDE && payee.balance() + amount > MOST {
            return Err("amount_out_of_range");
        }
        if payee.max.is_some_and(|max| payee.balance() + amount > max) {
            return Err("max_balance_exceeded");
        }
        Ok(())
    }

    fn post(
        &mut self,
        from: usize,
        to: usize,
        amount: i128,
        freed: i128,
        is_reversal: bool,
    ) -> Result<(), Refusal> {
        self.refuse(from, to, amount, freed)?;
        self.accounts[from].debits += amount;
        self.accounts[to].credits += amount;
        for account in [from, to] {
            self.accounts[account].version += 1;
            self.accounts[account].postings += 1;
        }
        let id = String::new();
        self.transactions.push(Transaction { id, from, to, amount, reversed: 0, is_reversal });
        Ok(())
    }

    fn open_hold(&mut self, hold: usize) -> Result<&mut Hold, Refusal> {
        let now = self.now;
        let hold = self.holds.get_mut(hold).ok_or("hold_not_found")?;
        match hold.status(now) {
            "open" => Ok(hold),
            "expired" => Err("hold_expired"),
            _ => Err("hold_closed"),
        }
    }

    fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
        match *step {
            Step::Transfer { from, to, .. } | Step::Hold { from, to, .. } if from == to => {
                Err("same_account")
            }
            Step::Transfer { from, to, amount } => self.post(from, to, amount, 0, false),
            Step::Deposit { account, amount } => self.post(OUTSIDE, account, amount, 0, false),
            Step::Withdraw { account, amount } => self.post(account, OUTSIDE, amount, 0, false),
            Step::Hold { from, to, amount, minutes } => {
                self.refuse(from, to, amount, 0)?;
                if self.held(from) + amount > MOST {
                    return Err("amount_out_of_range");
                }
                self.accounts[from].version += 1;
                self.holds.push(Hold {
                    id: String::new(),
                    from,
                    to,
                    amount,
                    captured: 0,
                    released: 0,
                    expires_at: self.now + minutes * MINUTE,
                    end: None,
                });
                Ok(())
            }
            Step::Capture { ref hold, share, last } => {
                let index = place(hold, self.holds.len());
                let hold = self.open_hold(index)?;
                let (from, to, left) = (hold.from, hold.to, hold.left());
                let amount = share.amount(left).unwrap_or(left);
                if amount > left {
                    return Err("capture_exceeds_hold");
                }
                let ends = last || amount == left;
                self.post(from, to, amount, if ends { left } else { amount }, false)?;
                let hold = &mut self.holds[index];
                hold.captured += amount;
                if ends {
                    hold.released += left - amount;
                    hold.end = Some("captured");
                }
                Ok(())
            }
            Step::Release { ref hold } => {
                let hold = self.open_hold(place(hold, self.holds.len()))?;
                hold.released += hold.left();
                hold.end = Some("released");
                let from = hold.from;
                self.accounts[from].version += 1;
                Ok(())
            }
            Step::Extend { ref hold, minutes } => {
                let end = self.now + minutes * MINUTE;
                let hold = self.open_hold(place(hold, self.holds.len()))?;
                // Time passes between two calls, so an equal time to live expires later.
                if end >= hold.expires_at {
                    hold.expires_at = end;
                    let from = hold.from;
                    self.accounts[from].version += 1;
                }
                Ok(())
            }
            Step::Reverse { ref transaction, share } => {
                let index = place(transaction, self.transactions.len());
                let Some(it) = self.transactions.get(index) else {
                    return Err("transaction_not_found");
                };
                let left = it.left();
                let amount = share.amount(left).unwrap_or(left);
                if left == 0 || amount > left {
                    return Err("reversal_exceeds_transaction");
                }
                let (from, to) = (it.to, it.from);
                self.post(from, to, amount, 0, true)?;
                self.transactions[index].reversed += amount;
                Ok(())
            }
            Step::Freeze { account, direction } => self.freeze(account, direction, true),
            Step::Unfreeze { account, direction } => self.freeze(account, direction, false),
            Step::Update { account, overdraft, max } => {
                let held = self.held(account);
                let it = &mut self.accounts[account];
                if it.closed {
                    return Err("account_closed");
                }
                if overdraft.is_some_and(|limit| it.balance() + limit < held) {
                    return Err("limit_below_usage");
                }
                if max.flatten().is_some_and(|max| it.balance() > max) {
                    return Err("limit_below_usage");
                }
                let (overdraft, max) = (overdraft.unwrap_or(it.overdraft), max.unwrap_or(it.max));
                it.version += u64::from((overdraft, max) != (it.overdraft, it.max));
                (it.overdraft, it.max) = (overdraft, max);
                Ok(())
            }
            Step::Close { account, sweep_to } => {
                if sweep_to == Some(account) {
                    return Err("same_account");
                }
                let it = &self.accounts[account];
                let balance = it.balance();
                if it.closed {
                    return Err("account_closed");
                }
                if self.held(account) > 0 || balance < 0 || balance > 0 && sweep_to.is_none() {
                    return Err("account_not_empty");
                }
                if let Some(other) = sweep_to.filter(|_| balance > 0) {
                    self.post(account, other, balance, 0, false)?;
                }
                let it = &mut self.accounts[account];
                (it.debits_frozen, it.credits_frozen, it.closed) = (false, false, true);
                it.overdraft = 0;
                it.version += 1;
                Ok(())
            }
            Step::Wait { minutes } => {
                self.now += minutes * MINUTE;
                Ok(())
            }
        }
    }

    fn freeze(&mut self, account: usize, direction: Direction, to: bool) -> Result<(), Refusal> {
        let it = &mut self.accounts[account];
        if it.closed {
            return Err("account_closed");
        }
        let before = (it.debits_frozen, it.credits_frozen);
        if direction.debits() {
            it.debits_frozen = to;
        }
        if direction.credits() {
            it.credits_frozen = to;
        }
        it.version += u64::from(before != (it.debits_frozen, it.credits_frozen));
        Ok(())
    }
}

/// The position of one of the last entries; past the end where there is none.
fn place(index: &Index, length: usize) -> usize {
    if length == 0 { 0 } else { length - 1 - index.index(length.min(4)) }
}

fn name(account: usize) -> String {
    if account == OUTSIDE { "external".to_owned() } else { format!("a{account}") }
}

/// Runs the same step as a call of the service.
async fn call(service: &Service, books: &Books, step: &Step) -> Value {
    let hold_id = |index: &Index| {
        let hold = books.holds.get(place(index, books.holds.len()));
        hold.map_or("hold_none".to_owned(), |hold| hold.id.clone())
    };
    let text = |amount: Option<i128>| amount.map(|amount| amount.to_string());
    let answer = match step {
        Step::Transfer { from, to, amount } => {
            service.transfer(&name(*from), &name(*to), &amount.to_string()).await
        }
        Step::Deposit { account, amount } => {
            let body = json!({ "account_id": name(*account), "amount": amount.to_string() });
            service.post("/accounts/deposit", body).await
        }
        Step::Withdraw { account, amount } => {
            let body = json!({ "account_id": name(*account), "amount": amount.to_string() });
            service.post("/accounts/withdraw", body).await
        }
        Step::Hold { from, to, amount, minutes } => {
            let ttl_ms = (minutes * MINUTE).unsigned_abs();
            service.hold(&name(*from), &name(*to), &amount.to_string(), ttl_ms).await
        }
        Step::Capture { hold, share, last } => {
            let left = books.holds.get(place(hold, books.holds.len())).map_or(0, Hold::left);
            service.capture(&hold_id(hold), text(share.amount(left)).as_deref(), *last).await
        }
        Step::Release { hold } => service.release(&hold_id(hold)).await,
        Step::Extend { hold, minutes } => {
            let body = json!({ "hold_id": hold_id(hold), "ttl_ms": minutes * MINUTE });
            service.post("/accounts/extend", body).await
        }
        Step::Reverse { transaction, share } => {
            let it = books.transactions.get(place(transaction, books.transactions.len()));
            let id = it.map_or("tx_none", |transaction| &transaction.id);
            let left = it.map_or(0, Transaction::left);
            service.reverse(id, text(share.amount(left)).as_deref()).await
        }
        Step::Freeze { account, direction } => {
            let body = json!({ "account_id": name(*account), "direction": direction.word() });
            service.post("/accounts/freeze", body).await
        }
        Step::Unfreeze { account, direction } => {
            let body = json!({ "account_id": name(*account), "direction": direction.word() });
            service.post("/accounts/unfreeze", body).await
        }
        Step::Update { account, overdraft, max } => {
            let mut body = json!({});
            if let Some(limit) = overdraft {
                body["overdraft_limit"] = limit.to_string().into();
            }
            if let Some(max) = max {
                body["max_balance"] = json!(text(*max));
            }
            service.patch(&format!("/accounts/{}", name(*account)), body).await
        }
        Step::Close { account, sweep_to } => {
            let body = json!({ "account_id": name(*account), "sweep_to": sweep_to.map(name) });
            service.post("/accounts/close", body).await
        }
        Step::Wait { minutes } => {
            service.advance_ms(minutes * MINUTE);
            return Value::Null;
        }
    };
    assert!(answer.status.as_u16() < 500, "{step:?}: {:#}", answer.body);
    answer.body
}

/// Reads many paths at once, and returns the bodies in order.
async fn all(service: &Service, paths: impl Iterator<Item = String>) -> Vec<Value> {
    let reads = paths.map(|path| {
        let service = service.clone();
        tokio::spawn(async move { service.get(&format!("/accounts/{path}")).await.assert(200) })
    });
    let mut answer = Vec::new();
    for one in reads.collect::<Vec<_>>() {
        answer.push(one.await.unwrap());
    }
    answer
}

/// Panics unless everything that the service returns is what the model expects.
async fn compare(service: &Service, books: &Books, step: &Step) {
    for (index, it) in books.accounts.iter().enumerate().take(ACCOUNTS) {
        let answer = service.get(&format!("/accounts/{}", name(index))).await.assert(200);
        let held = books.held(index);
        let (status, frozen) = it.status();
        let expected = json!({
            "balance": it.balance().to_string(),
            "available": (it.balance() + it.overdraft - held).to_string(),
            "held": held.to_string(),
            "overdraft_limit": it.overdraft.to_string(),
            "max_balance": it.max.map(|max| max.to_string()),
            "status": status,
            "frozen": frozen,
            "version": it.version,
        });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&answer[field], value, "{field} of {} after {step:?}", name(index));
        }
        let newest = &answer["recent_transactions"];
        assert_eq!(newest.as_array().unwrap().len() as u64, it.postings.min(5));
        if it.postings > 0 {
            assert_eq!(newest[0]["balance_after"], it.balance().to_string(), "after {step:?}");
        }
    }
    let answer = all(service, books.holds.iter().map(|it| format!("holds/{}", it.id))).await;
    for (hold, answer) in books.holds.iter().zip(answer) {
        let status = hold.status(books.now);
        let left = |wanted: &str| if status == wanted { hold.left() } else { 0 }.to_string();
        let expected = json!({
            "status": status,
            "from_account": name(hold.from),
            "to_account": name(hold.to),
            "amount": hold.amount.to_string(),
            "captured": hold.captured.to_string(),
            "released": hold.released.to_string(),
            "expired": left("expired"),
            "remaining": left("open"),
        });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&answer[field], value, "{field} of a hold after {step:?}");
        }
    }
    let ids = books.transactions.iter().map(|it| format!("transactions/{}", it.id));
    let answer = all(service, ids).await;
    for (it, answer) in books.transactions.iter().zip(answer) {
        assert_eq!(answer["from_account"], name(it.from), "after {step:?}");
        assert_eq!(answer["to_account"], name(it.to), "after {step:?}");
        assert_eq!(answer["amount"], it.amount.to_string(), "after {step:?}");
        assert_eq!(answer["reversed"], it.reversed.to_string(), "after {step:?}");
    }
    let integrity = service.get("/accounts/integrity").await.assert(200);
    for currency in integrity["currencies"].as_array().unwrap() {
        let held: i128 = (0..ACCOUNTS).map(|account| books.held(account)).sum();
        assert_eq!(currency["ok"], true, "after {step:?}: {integrity:#}");
        assert_eq!(currency["held"], held.to_string(), "after {step:?}");
        assert_eq!(currency["accounts"], ACCOUNTS, "after {step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default()
    })]

    #[test]
    fn accounts_agree_with_a_model_after_every_step(steps in prop::collection::vec(steps(), 10..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // The audit of every step reads all keys, so this test has a server of its own.
        static SERVER: LazyLock<Server> = LazyLock::new(Server::of_this_run);
        runtime.block_on(async {
            let service = Service::on_own_redis(&SERVER);
            let mut audit = Audit::default();
            let accounts = vec![Account::default(); ACCOUNTS + 1];
            let mut books = Books { accounts, ..Books::default() };
            for (account, balance) in [5 * 10_i128.pow(27), 1 << 53, 3].into_iter().enumerate() {
                // JPY has no decimals, so its amounts are in minor units.
                let body = json!({ "account_id": name(account), "currency": "JPY" });
                service.post("/accounts", body).await.assert(201);
                let amount = balance.to_string();
                let body = json!({ "account_id": name(account), "amount": amount });
                let answer = service.post("/accounts/deposit", body).await.assert(201);
                books.apply(&Step::Deposit { account, amount: balance }).unwrap();
                let id = answer["transaction_id"].as_str().unwrap().to_owned();
                books.transactions.last_mut().unwrap().id = id;
            }
            for step in steps {
                let answer = call(&service, &books, &step).await;
                let before = (books.holds.len(), books.transactions.len());
                let expected = books.apply(&step);
                let code = answer["code"].as_str();
                assert_eq!(code, expected.err(), "{step:?}: {answer:#}");
                if books.holds.len() > before.0 {
                    let hold = books.holds.last_mut().unwrap();
                    hold.id = answer["hold_id"].as_str().unwrap().to_owned();
                }
                if books.transactions.len() > before.1 {
                    let id = answer.get("transaction_id").or(answer.get("sweep_transaction_id"));
                    let transaction = books.transactions.last_mut().unwrap();
                    transaction.id = id.unwrap().as_str().unwrap().to_owned();
                }
                compare(&service, &books, &step).await;
                audit.check(&service);
            }
        });
    }
}
