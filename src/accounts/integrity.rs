use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, HOLDS};
use crate::{
    api::{self, Answer, Caller, Problem},
    store::{Completed, Context, Invocation, Operation, Store},
    types::{Code, Currency, Id, Money, Timestamp, codes},
};

/// What all accounts of a space have, added up anew.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "at": "2026-01-31T12:00:00.000Z",
    "currencies": [{
        "currency": "USD", "accounts": 2, "sum": "0.00", "held": "120.00", "ok": true, "unchecked": 0
    }]
}))]
pub struct Integrity {
    /// The moment that the sums are of. Calls go on meanwhile; what they have moved since is left out.
    pub at: Timestamp,
    pub currencies: Vec<CurrencyIntegrity>,
}

/// The accounts of one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencyIntegrity {
    #[schema(value_type = Currency)]
    pub currency: String,
    /// How many there are, the world outside not among them.
    #[schema(example = 2)]
    pub accounts: u64,
    /// All balances, that of the world outside among them: zero.
    pub sum: Money,
    /// What is set aside in all of them, each as its turn came.
    pub held: Money,
    /// Whether the sum is zero, and what is held in each account is the sum of its open holds.
    pub ok: bool,
    /// Accounts with more than 2,000 holds: theirs were not added up.
    #[schema(example = 0)]
    pub unchecked: u64,
}

/// A step of the walk through all accounts: it adds up those that the step before has named.
struct Check<'a> {
    at_us: Option<u64>,
    named: &'a [Id],
    after: Option<&'a Id>,
}

/// So many accounts in one script; it takes a millisecond or two.
const STEP: u64 = 100;

/// So often is another moment taken, where the one before was no good.
const ATTEMPTS: u32 = 5;

#[derive(Debug, Deserialize)]
struct Checked {
    /// 0 where some log did not reach back to the moment.
    at_us: u64,
    outside: Vec<Totals>,
    accounts: Vec<Totals>,
    next: Vec<Id>,
}

#[derive(Debug, Deserialize)]
struct Totals {
    currency: String,
    scale: u32,
    #[serde(deserialize_with = "minor_units")]
    credits: i128,
    #[serde(deserialize_with = "minor_units")]
    debits: i128,
    #[serde(deserialize_with = "minor_units")]
    held: i128,
    /// Whether what is held is the sum of the open holds, where that was added up.
    sound: Option<bool>,
}

fn minor_units<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl Operation for Check<'_> {
    const NAME: &'static str = "accounts/integrity";
    const CODES: &'static [Code] = CODES;
    type Reply = Checked;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("external_key", "external", "accounts").key(
            "index_key",
            "index",
            "accounts",
        );
        for id in self.named {
            invocation.key("account_key", "account", id).key("account_log", "postings", id).key(
                "holds_key",
                HOLDS,
                id,
            );
        }
        invocation
            .arg("at_us", self.at_us.map_or(String::new(), |at_us| at_us.to_string()))
            .arg("after", self.after.map_or("", Id::as_str))
            .arg("count", STEP);
    }
}

/// The sums of one currency.
#[derive(Default)]
struct Sums {
    scale: u32,
    accounts: u64,
    balances: i128,
    held: i128,
    unsound: u64,
    unchecked: u64,
}

impl Sums {
    fn add(&mut self, totals: &Totals) {
        self.scale = totals.scale;
        self.balances += totals.credits - totals.debits;
        self.held += totals.held;
        self.unsound += u64::from(totals.sound == Some(false));
        self.unchecked += u64::from(totals.sound.is_none());
    }

    fn is_ok(&self) -> bool {
        self.balances == 0 && self.unsound == 0
    }
}

/// Adds up all accounts as they were at one moment; `None` where that moment was no good.
async fn add_up(
    store: &Store,
    context: &Context,
) -> Result<Option<(u64, BTreeMap<String, Sums>)>, Problem> {
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    let (mut at_us, mut after, mut named) = (None, None, Vec::new());
    loop {
        let check = Check { at_us, named: &named, after: after.as_ref() };
        let checked = store.run(&check, context).await?.reply;
        if checked.at_us == 0 {
            return Ok(None);
        }
        for totals in &checked.outside {
            sums.entry(totals.currency.clone()).or_default().add(totals);
        }
        for totals in &checked.accounts {
            let sums = sums.entry(totals.currency.clone()).or_default();
            sums.add(totals);
            sums.accounts += 1;
        }
        if checked.next.is_empty() {
            return Ok(Some((checked.at_us, sums)));
        }
        at_us = Some(checked.at_us);
        after = checked.next.last().cloned();
        named = checked.next;
    }
}

/// Check the books
///
/// Adds up all accounts of the space as they were at one moment, in small steps, so that nobody waits
/// for it. `ok` is whether the balances of a currency add up to zero and what is held is what the
/// open holds say.
#[utoipa::path(
    get,
    path = "/accounts/integrity",
    operation_id = Check::NAME,
    tag = "accounts",
    responses((status = OK, body = Integrity, description = "The sums.")),
)]
pub async fn integrity(
    State(store): State<Store>,
    Caller(context): Caller,
) -> api::Result<Integrity> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let Some((at_us, sums)) = add_up(&store, &context).await? else { continue };
        let sound = sums.values().all(Sums::is_ok);
        last = Some((at_us, sums));
        // A clock that was set back makes a moment that never was; what is wrong stays wrong.
        if sound {
            break;
        }
    }
    let Some((at_us, sums)) = last else {
        let detail = "So much is moving that the logs of some account do not reach back to the \
                      beginning of this check. Nothing is wrong; try again, or keep more of its \
                      history (--history).";
        return Err(Problem::new(codes::STORE_BUSY, detail));
    };
    let currencies = sums.into_iter().map(|(currency, sums)| CurrencyIntegrity {
        ok: sums.is_ok(),
        sum: Money::from_minor_units(sums.balances, sums.scale),
        held: Money::from_minor_units(sums.held, sums.scale),
        accounts: sums.accounts,
        unchecked: sums.unchecked,
        currency,
    });
    let at = Timestamp::from_us(at_us);
    let reply = Integrity { at, currencies: currencies.collect() };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
