//! Accounts, transfers and holds, in double entry: every posting takes from one account what it gives
//! to another, so the balances of a space and currency always add up to zero. `app` merges the
//! router; `domains` finds the commands by name, for `POST /atomic` and `POST /bulk`.
//!
//! Each file is one operation and its endpoint. A request body is named by what it asks for
//! (`CaptureHold`), and is itself the operation where nothing has to be added to it. Where something
//! has to be found or computed before it can run, the operation is a type of its own, named by a noun
//! (`HoldCapture`), or [`Conditional`](crate::api::Conditional) where it honours `If-Match`. A type
//! called `...Reply` has the fields of a script's reply where these are not the body of the answer.

mod balance;
mod capture;
mod close;
pub mod codes;
mod deposit;
mod expire;
mod extend;
mod external_transfer;
mod freeze;
mod get;
mod get_hold;
mod get_transaction;
mod hold;
mod integrity;
mod list;
mod open;
mod record;
mod release;
mod reverse;
mod transaction_place;
mod transactions;
mod transfer;
mod unfreeze;
mod update;
mod withdraw;

use std::sync::LazyLock;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{CommandEntry, Problem, ReservedNames},
    store::{Invocation, Store},
    types::{Id, Text},
};

pub use codes::CODES;
pub use expire::ExpireHolds;
pub use record::{KEY_KINDS, account_to_json, hold_to_json};

use external_transfer::{ExternalTransfer, Receipt};
use get::{Account, AccountReply, AccountStatus, FreezeDirection};
use get_hold::{Hold, HoldReply, OpenHold};
use get_transaction::{Transaction, TransactionStatus};
use transaction_place::{TRANSACTIONS, TransactionPlace};
use transactions::Posting;

/// The endpoints of this domain, in the order in which the document tells of them.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(open::open, list::list))
        .routes(routes!(get::get, update::update))
        .routes(routes!(transfer::transfer))
        .routes(routes!(deposit::deposit))
        .routes(routes!(withdraw::withdraw))
        .routes(routes!(hold::hold))
        .routes(routes!(capture::capture))
        .routes(routes!(release::release))
        .routes(routes!(extend::extend))
        .routes(routes!(reverse::reverse))
        .routes(routes!(balance::balance))
        .routes(routes!(transactions::transactions))
        .routes(routes!(get_transaction::get_transaction))
        .routes(routes!(get_hold::get_hold))
        .routes(routes!(freeze::freeze))
        .routes(routes!(unfreeze::unfreeze))
        .routes(routes!(close::close))
        .routes(routes!(integrity::integrity))
}

/// The commands of this domain, which `POST /atomic` and `POST /bulk` take by name.
pub const COMMANDS: &[CommandEntry] = &[
    CommandEntry::of::<open::OpenAccount>(),
    CommandEntry::of::<transfer::Transfer>(),
    CommandEntry::of::<deposit::Deposit>(),
    CommandEntry::of::<withdraw::Withdraw>(),
    CommandEntry::of::<hold::PlaceHold>(),
    CommandEntry::of::<capture::CaptureHold>(),
    CommandEntry::of::<release::ReleaseHold>(),
    CommandEntry::of::<extend::ExtendHold>(),
    CommandEntry::of::<reverse::ReverseTransaction>(),
    CommandEntry::of::<freeze::FreezeAccount>(),
    CommandEntry::of::<unfreeze::UnfreezeAccount>(),
    CommandEntry::of::<close::CloseAccount>(),
];

/// A caller's explanation of a transaction or a hold: 0 to 1,000 characters.
type Description = Text<0, 1000>;

/// The kind of the key that holds the open holds of an account, in a sorted set beside its record.
const HOLDS: &str = "account_holds";

/// Returns the id of a new account unless a path hides it, or it is `external`, the other side of
/// deposits and withdrawals.
fn reject_reserved(account_id: Id) -> Result<Id, Problem> {
    static RESERVED: LazyLock<ReservedNames> =
        LazyLock::new(|| ReservedNames::beside(router(), "/accounts/{account_id}").and("external"));
    RESERVED.check(account_id, "/account_id")
}

/// The path of a transaction, for the header `Location`.
fn transaction_path(transaction_id: &str) -> String {
    format!("/accounts/transactions/{transaction_id}")
}

/// Refuses with `same_account` where an account would pay itself.
fn check_two_accounts(from: &Id, to: &Id) -> Result<(), Problem> {
    if from == to {
        return Err(Problem::refused(codes::SAME_ACCOUNT, [("account_id", from.as_str().into())]));
    }
    Ok(())
}

/// Binds `account_key`, the record of an account.
fn bind_account<'a>(invocation: &'a mut Invocation, id: &Id) -> &'a mut Invocation {
    invocation.key("account_key", "account", id)
}
