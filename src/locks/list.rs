//! `GET /locks`: lists the locks that are held, of one owner or of everybody.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{CODES, get::Holder, lease::Mode, names::bind_lock};
use crate::{
    api::{self, Answer, Caller, KeysetScan, ListReply, Listed, Page, Query, ScanStep},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Id, Text},
};

/// The query parameters of the list of locks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LocksPage {
    /// The most locks of the page, 1 to 500.
    #[serde(default = "Page::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: u64,
    /// The `next_cursor` of the page before. Without it the first page is answered.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
    pub cursor: Option<String>,
    /// Lists only locks that this owner holds, 1 to 200 characters. Without it all held locks are listed.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200)]
    pub owner: Option<Text<1, 200>>,
}

/// A page of the locks that are held, in the order of their names.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "locks": [{
        "lock": "nightly-report",
        "mode": "exclusive",
        "permits": null,
        "holders": [{
            "owner": "worker-7",
            "mode": "exclusive",
            "fencing_token": 1_769_860_800_000_000_u64,
            "expires_in_ms": 12_000,
            "metadata": {}
        }],
        "holder_count": 1,
        "last_fencing_token": 1_769_860_800_000_000_u64
    }]
}))]
pub struct Locks {
    /// Locks that are held, in the order of their names.
    pub locks: Vec<HeldLock>,
    /// The `cursor` of the next page; missing on the last one. A page may have fewer locks than its limit,
    /// or none, and still have a next one, because locks that are free are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "nightly-report")]
    pub next_cursor: Option<String>,
}

/// A lock that is held.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HeldLock {
    /// Name of the lock.
    pub lock: Id,
    /// Mode of its leases.
    pub mode: Mode,
    /// For the mode `permit`: number of leases that can hold the lock at the same time; otherwise null.
    #[schema(example = 3)]
    pub permits: Option<u32>,
    /// Holders, the first 20 of them; with `owner`, those of that name.
    pub holders: Vec<Holder>,
    /// Number of all leases that hold the lock.
    #[schema(example = 1)]
    pub holder_count: u64,
    /// Fencing token of the newest lease.
    #[schema(example = 1_769_860_800_000_000_u64)]
    pub last_fencing_token: u64,
}

impl Listed for HeldLock {
    fn id(&self) -> &str {
        self.lock.as_str()
    }
}

struct ListLocks<'a> {
    step: ScanStep,
    owner: Option<&'a Text<1, 200>>,
}

impl Operation for ListLocks<'_> {
    const NAME: &'static str = "locks/list";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply<HeldLock>;

    fn bind(&self, invocation: &mut Invocation) {
        let ListLocks { step, owner } = self;
        invocation.key("index_key", "index", "locks");
        for name in &step.ids {
            bind_lock(invocation, name);
        }
        invocation
            .arg("after", step.after())
            .arg("count", step.count)
            .arg("owner", Text::json(*owner));
        for name in &step.ids {
            invocation.arg("lock_name", name);
        }
    }
}

/// List locks
///
/// Answers a page of the locks that are held when it is read, in the order of their names. With `owner`
/// only those that this owner holds, which is what an operator asks when a worker has died.
#[utoipa::path(
    get,
    path = "/locks",
    operation_id = ListLocks::NAME,
    tag = "locks",
    params(LocksPage),
    responses((status = OK, body = Locks, description = "The page of locks.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn list(
    State(store): State<Store>,
    Query(page): Query<LocksPage>,
    Caller(context): Caller,
) -> api::Result<Locks> {
    let scan = KeysetScan::new(page.limit, page.cursor)?.filtered();
    let operation = |step| ListLocks { step, owner: page.owner.as_ref() };
    let list = scan.page(&store, &context, operation, |_| true).await?;
    let reply = Locks { locks: list.items, next_cursor: list.next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
