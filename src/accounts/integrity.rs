//! `GET /accounts/integrity`: adds up the balances and holds of all accounts as they were at one
//! moment.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, HOLDS};
use crate::{
    api::{self, Answer, Caller, Problem, ScanStep},
    store::{Completed, Context, Invocation, Operation, Store},
    types::{Code, Currency, Id, Money, Timestamp, codes},
};

/// The sums of all accounts of a space.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "at": "2026-01-31T12:00:00.000Z",
    "ok": true,
    "currencies": [{
        "currency": "USD", "accounts": 2, "sum": "0.00", "held": "120.00", "ok": true, "unchecked": 0
    }],
    "damaged": []
}))]
pub struct Integrity {
    /// Moment, by the clock of Redis, at which the accounts had these balances. What calls have moved
    /// since is left out.
    pub at: Timestamp,
    /// True if every currency is `ok` and no account is damaged.
    pub ok: bool,
    /// Sums of each currency that has an account, in the order of the currencies' codes.
    pub currencies: Vec<CurrencyIntegrity>,
    /// Accounts of which something is missing or wrong, the first 1,000 in the order of their ids.
    pub damaged: Vec<DamagedAccount>,
}

/// An account of which something is missing or wrong.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DamagedAccount {
    /// Id of the account; `external` for the other side of deposits and withdrawals.
    #[schema(example = "alice")]
    pub account_id: String,
    /// What is wrong.
    pub reason: AccountDamage,
}

/// What is wrong with an account: `missing` if it has no record, `unreadable` if a key of it cannot be
/// read, `postings` if its log has lost some, and `holds` if it does not hold what they add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountDamage {
    /// It has no record, although it was opened. Its balance is missing in the sum.
    Missing,
    /// Its record, or another key of it, cannot be read.
    Unreadable,
    /// Its log has lost postings: the newest does not have the balance of the account, or old ones are
    /// gone before their time.
    Postings,
    /// It does not hold what its open holds add up to.
    Holds,
}

/// The sums of the accounts in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencyIntegrity {
    /// Currency: a code of ISO 4217, or one that the service's configuration declares.
    #[schema(value_type = Currency)]
    pub currency: String,
    /// Number of accounts; the external account is not counted.
    #[schema(example = 2)]
    pub accounts: u64,
    /// Sum of all balances, that of `external` included. It is zero where the books are right.
    pub sum: Money,
    /// Sum of what is held in all accounts, each account as it was when the check came to it.
    pub held: Money,
    /// True if `sum` is zero, and each account holds what its open holds add up to.
    pub ok: bool,
    /// Number of accounts with more than 2,000 holds, whose holds were not added up.
    #[schema(example = 0)]
    pub unchecked: u64,
}

/// One step of the check: it adds up the accounts whose ids the step before has listed.
struct CheckBooks {
    /// Moment in microseconds since 1970; `None` lets the first step take the present.
    at_us: Option<u64>,
    step: ScanStep,
}

/// The number of accounts that one script adds up, which takes it a millisecond or two.
const ACCOUNTS_PER_STEP: u64 = 100;

/// The most damaged accounts that are named.
const MAX_DAMAGED: usize = 1000;

/// The number of moments that are tried before the check gives up.
const MAX_ATTEMPTS: u32 = 5;

#[derive(Debug, Deserialize)]
struct CheckBooksReply {
    /// Moment in microseconds since 1970; 0 where the log of an account does not reach back to it.
    at_us: u64,
    /// The external accounts, one for each currency; only the first step answers them.
    outside: Vec<AccountTotals>,
    accounts: Vec<AccountTotals>,
    damaged: Vec<DamagedAccount>,
    next: Vec<Id>,
}

/// The totals of one account in minor units of its currency.
#[derive(Debug, Deserialize)]
struct AccountTotals {
    currency: String,
    /// The decimals of the currency.
    scale: u32,
    #[serde(deserialize_with = "minor_units")]
    credits: i128,
    #[serde(deserialize_with = "minor_units")]
    debits: i128,
    #[serde(deserialize_with = "minor_units")]
    held: i128,
    /// True if `held` is the sum of the open holds; `None` where there are too many to add up.
    sound: Option<bool>,
}

/// Reads a number that is written as text, because JSON numbers are not exact to 36 digits.
fn minor_units<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl Operation for CheckBooks {
    const NAME: &'static str = "accounts/integrity";
    const CODES: &'static [Code] = CODES;
    type Reply = CheckBooksReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("external_key", "external", "accounts").key(
            "index_key",
            "index",
            "accounts",
        );
        for id in &self.step.ids {
            invocation.key("account_key", "account", id).key("account_log", "postings", id).key(
                "holds_key",
                HOLDS,
                id,
            );
        }
        invocation
            .arg("at_us", self.at_us.map_or(String::new(), |at_us| at_us.to_string()))
            .arg("after", self.step.after())
            .arg("count", self.step.count);
        for id in &self.step.ids {
            invocation.arg("account_id", id);
        }
    }
}

/// The sums of one currency, in minor units.
#[derive(Default)]
struct CurrencySums {
    /// `None` before the first account.
    scale: Option<u32>,
    accounts: u64,
    balances: i128,
    held: i128,
    unsound: u64,
    unchecked: u64,
}

impl CurrencySums {
    fn add(&mut self, totals: &AccountTotals) {
        // The external account comes first. One with other decimals, from another declaration, has no money.
        self.scale.get_or_insert(totals.scale);
        self.balances += totals.credits - totals.debits;
        self.held += totals.held;
        self.unsound += u64::from(totals.sound == Some(false));
        self.unchecked += u64::from(totals.sound.is_none());
    }

    fn is_ok(&self) -> bool {
        self.balances == 0 && self.unsound == 0
    }

    fn report(self, currency: String) -> CurrencyIntegrity {
        let scale = self.scale.unwrap_or_default();
        CurrencyIntegrity {
            currency,
            accounts: self.accounts,
            sum: Money::from_minor_units(self.balances, scale),
            held: Money::from_minor_units(self.held, scale),
            ok: self.is_ok(),
            unchecked: self.unchecked,
        }
    }
}

/// The sums by currency, and the moment in microseconds since 1970 that they are of.
struct BookSums {
    at_us: u64,
    currencies: BTreeMap<String, CurrencySums>,
    damaged: Vec<DamagedAccount>,
}

impl BookSums {
    fn is_ok(&self) -> bool {
        self.damaged.is_empty() && self.currencies.values().all(CurrencySums::is_ok)
    }
}

/// Adds up all accounts as they were at the moment of the first step. Answers `None` where the log of
/// an account no longer reaches back to that moment.
async fn add_up(store: &Store, context: &Context) -> Result<Option<BookSums>, Problem> {
    let mut currencies: BTreeMap<String, CurrencySums> = BTreeMap::new();
    let mut all_damaged = Vec::new();
    let mut check = CheckBooks { at_us: None, step: ScanStep::first(ACCOUNTS_PER_STEP) };
    loop {
        let CheckBooksReply { at_us, outside, accounts, damaged, next } =
            store.run(&check, context).await?.reply;
        if at_us == 0 {
            return Ok(None);
        }
        for totals in &outside {
            currencies.entry(totals.currency.clone()).or_default().add(totals);
        }
        for totals in &accounts {
            let sums = currencies.entry(totals.currency.clone()).or_default();
            sums.add(totals);
            sums.accounts += 1;
        }
        all_damaged.extend(damaged);
        all_damaged.truncate(MAX_DAMAGED);
        if next.is_empty() {
            return Ok(Some(BookSums { at_us, currencies, damaged: all_damaged }));
        }
        let step = ScanStep::reading(next, ACCOUNTS_PER_STEP);
        check = CheckBooks { at_us: Some(at_us), step };
    }
}

/// Check the books
///
/// Adds up all accounts of the space as they were at one moment. The sums are taken in small steps,
/// between which other calls run. `ok` says for each currency that the balances add up to zero and
/// that each account holds what its open holds add up to. An account that is damaged is named, and the
/// others are checked all the same. Where money moves so fast that the history
/// of an account does not reach back to the beginning of the check, the answer is `store_busy`.
#[utoipa::path(
    get,
    path = "/accounts/integrity",
    operation_id = CheckBooks::NAME,
    tag = "accounts",
    responses((status = OK, body = Integrity, description = "The sums.")),
)]
pub async fn integrity(
    State(store): State<Store>,
    Caller(context): Caller,
) -> api::Result<Integrity> {
    let mut last = None;
    for _ in 0..MAX_ATTEMPTS {
        let Some(sums) = add_up(&store, &context).await? else { continue };
        let is_ok = sums.is_ok();
        last = Some(sums);
        // A clock that was set back during the check makes sums of sound books differ. Books that are
        // really wrong are wrong at every moment, so another moment tells the two apart.
        if is_ok {
            break;
        }
    }
    let Some(sums) = last else {
        let detail = "So much is moving that the logs of some account do not reach back to the \
                      beginning of this check. Nothing is wrong; try again, or keep more of its \
                      history (--history).";
        return Err(Problem::new(codes::STORE_BUSY, detail));
    };
    let ok = sums.is_ok();
    let BookSums { at_us, currencies, damaged } = sums;
    let currencies = currencies.into_iter().map(|(currency, sums)| sums.report(currency)).collect();
    let reply = Integrity { at: Timestamp::from_us(at_us), ok, currencies, damaged };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
