//! Double entry: every posting takes from one account what it gives to another, so the balances of a
//! space and currency always add up to zero.

mod balance;
mod deposit;
mod get;
mod open;
mod outside;
mod transactions;
mod transfer;
mod withdraw;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    store::{Call, Store},
    types::{Code, Currency, Id, Instant, Metadata, Money, Text},
};

use outside::{MoveMoney, Moved};

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(open::open))
        .routes(routes!(get::get))
        .routes(routes!(balance::balance))
        .routes(routes!(transactions::transactions))
        .routes(routes!(transfer::transfer))
        .routes(routes!(deposit::deposit))
        .routes(routes!(withdraw::withdraw))
}

/// Why an account says no.
pub const CODES: &[Code] = &[
    Code {
        code: "account_exists",
        status: 409,
        title: "Account exists",
        says: "There is an account {account_id} already.",
        explanation: "An account of this id has been opened in this space before. It was not changed.",
        retryable: false,
    },
    Code {
        code: "account_not_found",
        status: 404,
        title: "No such account",
        says: "There is no account {account_id} ({role}).",
        explanation: "The space has no account of this id; `role` is the field that names it. Open it \
                      with POST /accounts.",
        retryable: false,
    },
    Code {
        code: "same_account",
        status: 422,
        title: "One account twice",
        says: "The money would go from {account_id} to {account_id}.",
        explanation: "A transfer takes two different accounts.",
        retryable: false,
    },
    Code {
        code: "currency_mismatch",
        status: 422,
        title: "Two currencies",
        says: "One account is in {from_currency}, the other in {to_currency}.",
        explanation: "Both sides of a transfer are in one currency. Nothing is ever exchanged.",
        retryable: false,
    },
    Code {
        code: "insufficient_funds",
        status: 409,
        title: "Not enough money",
        says: "The account {account_id} has {available} {currency} available, and {required} is required.",
        explanation: "`available` is the balance without what is held, and with the overdraft limit. \
                      Nothing was moved.",
        retryable: false,
    },
    Code {
        code: "max_balance_exceeded",
        status: 409,
        title: "Too much money",
        says: "The account {account_id} has {balance} {currency} and may have {max_balance}: {amount} more is too much.",
        explanation: "The account that receives has a `max_balance`. Nothing was moved.",
        retryable: false,
    },
];

/// Why something happened, in the caller's words.
type Description = Text<0, 1000>;

/// Words that are paths of this domain, and so cannot be the id of an account.
const RESERVED: [&str; 14] = [
    "transfer",
    "deposit",
    "withdraw",
    "hold",
    "holds",
    "capture",
    "release",
    "extend",
    "reverse",
    "transactions",
    "freeze",
    "unfreeze",
    "close",
    "integrity",
];

/// Whether an account may be called that.
fn may_be_opened(id: &Id) -> bool {
    id.as_str() != "external" && !RESERVED.contains(&id.as_str())
}

fn bind_account<'a>(call: &'a mut Call, id: &Id) -> &'a mut Call {
    call.key("account_key", "account", id)
}

/// An account. Amounts are decimal strings in its currency.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "account_id": "alice",
    "currency": "USD",
    "balance": "97.50",
    "available": "97.50",
    "held": "0.00",
    "overdraft_limit": "0.00",
    "max_balance": null,
    "metadata": {},
    "version": 2,
    "created_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Account {
    /// What the caller calls it.
    pub account_id: Id,
    /// What its amounts are in.
    pub currency: Currency,
    /// Credits less debits.
    pub balance: Money,
    /// What can be spent: the balance without what is held, and with the overdraft limit.
    pub available: Money,
    /// What is set aside.
    pub held: Money,
    /// How far below zero the balance may go.
    pub overdraft_limit: Money,
    /// How far up it may go; null for no limit.
    pub max_balance: Option<Money>,
    /// The caller's own notes.
    pub metadata: Metadata,
    /// Counts the changes; also the ETag.
    pub version: u64,
    /// When, on Redis' clock.
    pub created_at: Instant,
    /// The five newest transactions, newest first; only where one account is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_transactions: Option<Vec<Transaction>>,
}

/// A posting, as one of its two accounts sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "direction": "debit",
    "counterparty": "bob",
    "amount": "2.50",
    "balance_after": "97.50",
    "description": "lunch",
    "metadata": {},
    "created_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Transaction {
    /// Minted by the service.
    pub transaction_id: String,
    /// Whether it took or gave.
    pub direction: Direction,
    /// The account on the other side; `external` for the world outside.
    pub counterparty: Id,
    /// What moved.
    pub amount: Money,
    /// The balance of this account right after.
    pub balance_after: Money,
    /// The caller's words.
    pub description: Option<String>,
    /// The caller's own notes.
    pub metadata: Metadata,
    /// When, on Redis' clock.
    pub created_at: Instant,
}

/// Which way a posting goes, seen from an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It takes from the account.
    Debit,
    /// It gives to the account.
    Credit,
}

/// How a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The money has moved.
    Completed,
}
