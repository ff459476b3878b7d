//! The table of domains: one row has all that the rest of the service needs to know of a domain.
//! `app` takes the routers from it, `openapi` the tags, `problems` the codes, `atomic` and `bulk`
//! the commands, the sweeper what expires, and `cli` the kinds of keys.
//!
//! A new domain is a row here, and its module in `lib.rs`.

use std::{collections::HashMap, pin::Pin, sync::LazyLock};

use utoipa_axum::router::OpenApiRouter;

use crate::{
    accounts,
    api::{CommandEntry, Problem},
    cache, counters, inventory, keys, locks, ratelimit, scripts,
    store::{self, Context, KeyKind, SHARED_KINDS, Store},
    types::{Code, Id},
};

/// A row of the table.
pub struct Domain {
    /// The first part of its operations' names, and its tag in the OpenAPI document.
    pub name: &'static str,
    /// The description of the tag.
    pub description: &'static str,
    /// Its endpoints.
    pub router: fn() -> OpenApiRouter<Store>,
    /// Its commands that `POST /atomic` and `POST /bulk` run.
    pub commands: &'static [CommandEntry],
    /// The kinds of keys that it writes, with their decoders.
    pub key_kinds: &'static [KeyKind],
    /// Its problem codes.
    pub codes: &'static [Code],
    /// Its records that end at a time of their own.
    pub expires: &'static [Expirable],
}

/// Records that end at a time of their own, such as the holds of an account. Every operation that
/// reads them first ends those whose time is over; the sweeper does it for those that nothing reads.
pub struct Expirable {
    /// The kind of the key that exists while there are such records. The key is
    /// `lockstep:{<space>}:<kind>:<id>`.
    pub kind: &'static str,
    /// The resource that the records belong to: the label `kind` of `lockstep_swept_total`.
    pub resource: &'static str,
    /// Ends the records of the resource `id` whose time is over. One run ends a limited number of
    /// them, and returns whether more are left.
    pub expire: for<'a> fn(store: &'a Store, id: Id, context: &'a Context) -> Expiring<'a>,
}

/// The running `expire` of a row.
pub type Expiring<'a> = Pin<Box<dyn Future<Output = Result<bool, store::Error>> + Send + 'a>>;

/// All domains, in the order of the OpenAPI document.
pub static DOMAINS: &[Domain] = &[
    Domain {
        name: "accounts",
        description: "Money, by double-entry bookkeeping",
        router: accounts::router,
        commands: accounts::COMMANDS,
        key_kinds: accounts::KEY_KINDS,
        codes: accounts::CODES,
        expires: &[Expirable {
            kind: accounts::ExpireHolds::KIND,
            resource: "account",
            expire: |store, id, context| {
                Box::pin(async move {
                    Ok(store.run(&accounts::ExpireHolds(id), context).await?.reply.more == 1)
                })
            },
        }],
    },
    Domain {
        name: "inventory",
        description: "Stock and reservations",
        router: inventory::router,
        commands: inventory::COMMANDS,
        key_kinds: inventory::KEY_KINDS,
        codes: inventory::CODES,
        expires: &[Expirable {
            kind: inventory::ExpireReservations::KIND,
            resource: "product",
            expire: |store, id, context| {
                Box::pin(async move {
                    Ok(store.run(&inventory::ExpireReservations(id), context).await?.reply.more
                        == 1)
                })
            },
        }],
    },
    Domain {
        name: "locks",
        description: "Leases with fencing tokens",
        router: locks::router,
        commands: locks::COMMANDS,
        key_kinds: locks::KEY_KINDS,
        codes: locks::CODES,
        expires: &[],
    },
    Domain {
        name: "ratelimit",
        description: "Exact rate limits",
        router: ratelimit::router,
        commands: ratelimit::COMMANDS,
        key_kinds: ratelimit::KEY_KINDS,
        codes: ratelimit::CODES,
        expires: &[],
    },
    Domain {
        name: "counters",
        description: "Whole numbers within bounds",
        router: counters::router,
        commands: counters::COMMANDS,
        key_kinds: counters::KEY_KINDS,
        codes: counters::CODES,
        expires: &[],
    },
    Domain {
        name: "cache",
        description: "Cache-aside without its races",
        router: cache::router,
        commands: cache::COMMANDS,
        key_kinds: cache::KEY_KINDS,
        codes: cache::CODES,
        expires: &[],
    },
    Domain {
        name: "scripts",
        description: "Callers' own scripts over their data keys",
        router: scripts::router,
        commands: &[],
        key_kinds: scripts::KEY_KINDS,
        codes: scripts::CODES,
        expires: &[],
    },
    Domain {
        name: "keys",
        description: "Keys of callers: who may do what",
        router: keys::router,
        commands: &[],
        key_kinds: keys::KEY_KINDS,
        codes: keys::CODES,
        expires: &[],
    },
];

/// The commands of all domains.
pub fn commands() -> impl Iterator<Item = &'static CommandEntry> {
    DOMAINS.iter().flat_map(|domain| domain.commands)
}

/// The command of that name, such as `accounts/transfer`.
///
/// # Errors
///
/// `validation_failed` at the pointer `/operation` if there is none.
pub fn command(name: &str) -> Result<&'static CommandEntry, Problem> {
    static BY_NAME: LazyLock<HashMap<&str, &CommandEntry>> =
        LazyLock::new(|| commands().map(|command| (command.name, command)).collect());
    // The last part of this path has a dash, and callers may write the name as the path.
    let name = if name == "ratelimit/check-all" { "ratelimit/check_all" } else { name };
    BY_NAME.get(name).copied().ok_or_else(|| {
        let detail = format!("There is no command {name:?}; the document at /docs names them.");
        Problem::validation("/operation", detail)
    })
}

/// The kinds of keys of all domains, and those that several of them share.
pub fn key_kinds() -> impl Iterator<Item = &'static KeyKind> {
    DOMAINS.iter().flat_map(|domain| domain.key_kinds).chain(SHARED_KINDS)
}

/// The rows of everything that expires, in all domains.
pub fn expirables() -> impl Iterator<Item = &'static Expirable> {
    DOMAINS.iter().flat_map(|domain| domain.expires)
}
