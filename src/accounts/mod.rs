//! Double entry: every posting takes from one account what it gives to another, so the balances of a
//! space and currency always add up to zero.

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
mod release;
mod reverse;
mod transactions;
mod transfer;
mod unfreeze;
mod update;
mod withdraw;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::CommandEntry,
    store::{Invocation, Store},
    types::{Id, Text},
};

pub use codes::CODES;
pub use expire::Expire;

use external_transfer::{ExternalTransfer, Receipt};
use get::{Account, AccountReply, AccountStatus, FreezeDirection};
use get_hold::{Hold, HoldReply, OpenHold};
use get_transaction::{Transaction, TransactionStatus};
use transactions::Posting;

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(open::open, list::list))
        .routes(routes!(get::get, update::update))
        .routes(routes!(balance::balance))
        .routes(routes!(transactions::transactions))
        .routes(routes!(transfer::transfer))
        .routes(routes!(deposit::deposit))
        .routes(routes!(withdraw::withdraw))
        .routes(routes!(hold::hold))
        .routes(routes!(capture::capture))
        .routes(routes!(release::release))
        .routes(routes!(extend::extend))
        .routes(routes!(reverse::reverse))
        .routes(routes!(freeze::freeze))
        .routes(routes!(unfreeze::unfreeze))
        .routes(routes!(close::close))
        .routes(routes!(get_transaction::get_transaction))
        .routes(routes!(get_hold::get_hold))
        .routes(routes!(integrity::integrity))
}

/// Its commands.
pub const COMMANDS: &[CommandEntry] = &[
    CommandEntry::of::<open::Open>(),
    CommandEntry::of::<transfer::Transfer>(),
    CommandEntry::of::<deposit::Deposit>(),
    CommandEntry::of::<withdraw::Withdraw>(),
    CommandEntry::of::<hold::PlaceHold>(),
    CommandEntry::of::<capture::Capture>(),
    CommandEntry::of::<release::Release>(),
    CommandEntry::of::<extend::Extend>(),
    CommandEntry::of::<reverse::Reverse>(),
    CommandEntry::of::<freeze::Freeze>(),
    CommandEntry::of::<unfreeze::Unfreeze>(),
    CommandEntry::of::<close::Close>(),
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

/// The set of an account's holds, beside its record.
const HOLDS: &str = "account_holds";

fn bind_account<'a>(invocation: &'a mut Invocation, id: &Id) -> &'a mut Invocation {
    invocation.key("account_key", "account", id)
}
