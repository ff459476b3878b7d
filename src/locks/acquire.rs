//! `POST /locks`: acquires a lock, or several, for a limited time.

use axum::{Extension, extract::State, http::HeaderValue};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    acquisition::{Acquisition, LockRequest},
    codes,
    lease::{Lease, LeaseReply, Mode},
    names::{LockName, LockNames},
    validate::Validate,
    waiters::Waiters,
};
use crate::{
    api::{self, Answer, Caller, Json, Later, MAX_WAIT_MS, PreferredWait, Problem},
    store::{Completed, Context, Error, GeneratedId, Refusal, Store},
    types::{FencingToken, Metadata, Text, Ttl, enum_from_str},
};

/// The most permits of a lock.
const MAX_PERMITS: u32 = 1000;

/// Acquires a lock, or several of which all are acquired or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "lock": "nightly-report", "owner": "worker-7", "ttl_ms": 30_000, "wait_ms": 10_000
}))]
pub struct Acquire {
    /// Name of the lock. A lock needs no declaration.
    pub lock: Option<LockName>,
    /// Names of several locks, 2 to 32 in any order, for one lease over all of them. Give either `lock`
    /// or `locks`.
    #[schema(min_items = 2, max_items = 32)]
    pub locks: Option<Vec<LockName>>,
    /// Name of the holder, 1 to 200 characters. Everybody who reads the lock sees it.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub owner: Text<1, 200>,
    /// Time in milliseconds after which the lease expires unless it is renewed.
    #[serde(default = "Acquire::default_ttl")]
    #[schema(default = 30_000)]
    pub ttl_ms: Ttl,
    /// Longest time in milliseconds to wait for the lock, at most 25,000. The header `Prefer: wait=SECONDS`
    /// says the same where this field is missing; without both, the call does not wait.
    #[schema(maximum = 25_000, default = 0)]
    pub wait_ms: Option<u64>,
    /// Mode of the lease.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "exclusive")]
    pub mode: Mode,
    /// For the mode `permit`, and required there: number of leases that can hold the lock at the same time,
    /// 1 to 1,000. All holders of a lock give the same number.
    #[schema(minimum = 1, maximum = 1000)]
    pub permits: Option<u32>,
    /// Entries that the caller attaches to the lease: at most 50 and 8 KiB. Everybody who reads the
    /// lock sees them.
    #[serde(default)]
    pub metadata: Metadata,
}

impl Acquire {
    fn default_ttl() -> Ttl {
        Ttl::from_ms(30_000)
    }

    /// Checks what can be checked without Redis.
    ///
    /// # Errors
    ///
    /// `validation_failed` with a pointer to the field.
    fn check(self, preferred: PreferredWait) -> Result<LockRequest, Problem> {
        let Acquire { lock, locks, owner, ttl_ms, wait_ms, mode, permits, metadata } = self;
        let permits = match (mode, permits) {
            (Mode::Permit, Some(permits)) if (1..=MAX_PERMITS).contains(&permits) => permits,
            (Mode::Permit, Some(_)) => {
                return Err(Problem::validation("/permits", "There are 1 to 1000 permits."));
            }
            (Mode::Permit, None) => {
                return Err(Problem::validation("/permits", "The mode permit needs permits."));
            }
            (_, None) => 0,
            (_, Some(_)) => {
                return Err(Problem::validation("/permits", "Only the mode permit has permits."));
            }
        };
        if wait_ms.is_some_and(|ms| ms > MAX_WAIT_MS) {
            return Err(Problem::validation("/wait_ms", "A call waits at most 25000 ms."));
        }
        Ok(LockRequest {
            names: LockNames::of(lock, locks)?.into(),
            owner,
            ttl_ms,
            mode,
            permits,
            metadata,
            wait_ms: preferred.or(wait_ms),
            lease_id: GeneratedId::new("lease_"),
        })
    }
}

/// Acquire a lock
///
/// The lock is acquired at once, or the call waits in the queue for up to `wait_ms`: first come, first
/// served. A caller that goes away leaves the queue and never gets the lock. The `lease_id` in the answer is
/// needed to renew and to release the lock. The `fencing_token` is greater than that of every earlier lease
/// on the lock; send it in the header `Lockstep-Guard` of every command that the lock protects. With `locks`
/// all of them are acquired in one step or none is, so that there is no deadlock. A repeat under the same
/// Idempotency-Key answers the same lease, and `lease_expired` once that has ended.
#[utoipa::path(
    post,
    path = "/locks",
    operation_id = "locks/acquire",
    tag = "locks",
    request_body = Acquire,
    params(("Prefer" = Option<String>, Header, description = "`wait=SECONDS` waits for so long, at most 25 seconds, where `wait_ms` is missing (RFC 7240).")),
    responses((status = CREATED, body = Lease, description = "The lock was acquired.")),
    extensions(("x-refusals" = json!(["lease_expired"]))),
)]
pub async fn acquire(
    State(store): State<Store>,
    Extension(waiters): Extension<Waiters>,
    Caller(context): Caller,
    preferred: PreferredWait,
    Json(request): Json<Acquire>,
) -> Result<Later, Problem> {
    let applied = preferred.unless(request.wait_ms);
    let mut acquisition = Acquisition::new(store, context, waiters, request.check(preferred)?);
    // By reference: the future of a function that takes it would have room for it twice.
    Ok(Later::new(async move { lease_of(&mut acquisition, applied).await }))
}

/// Waits for the lease, and answers it. `applied` is the wait that the header `Prefer` asked for.
async fn lease_of(acquisition: &mut Acquisition, applied: PreferredWait) -> api::Result<Lease> {
    let acquired = acquisition.run().await;
    let names = acquisition.names();
    let Completed { reply: (mut lease, waited_ms), replayed } =
        acquired.map_err(|error| describe(error, names))?;
    if replayed {
        let Acquisition { store, context, .. } = &*acquisition;
        // In a box, so that those who wait do not keep the room for it.
        lease = Box::pin(still_held(lease, store, context)).await?;
    }
    let reply = lease.into_lease(names, Some(waited_ms));
    Ok(applied.applied_to(Answer::created(Completed { reply, replayed })))
}

/// The problem of an acquire that was refused. The sentence about a held lock names its first holder.
fn describe(error: Error, names: &LockNames) -> Problem {
    let Error::Refused(Completed { reply: Refusal { code, members }, .. }) = &error else {
        return error.into();
    };
    let detail = match &members.get("holders").and_then(|holders| holders.get(0)) {
        Some(holder) if code.code == codes::LOCK_HELD.code => {
            let text = |name: &str| holder.get(name).map(Value::to_string).unwrap_or_default();
            let lock = members.get("lock").and_then(Value::as_str).unwrap_or_default();
            let owner = holder.get("owner").and_then(Value::as_str).unwrap_or_default();
            let ms = text("expires_in_ms");
            Some(format!("The lock {lock} is held by {owner} for another {ms} ms at most."))
        }
        _ => None,
    };
    let problem = Problem::from(error);
    let problem = match names.several() {
        Some(locks) => problem.with("locks", serde_json::json!(locks)),
        None => problem,
    };
    match detail {
        Some(detail) => problem.with_detail(detail),
        None => problem,
    }
}

/// Returns a lease that a repeat under an idempotency key found, with the time that is left of it.
///
/// # Errors
///
/// `lease_expired` if it has ended meanwhile; the failure of the store.
async fn still_held(
    lease: LeaseReply,
    store: &Store,
    context: &Context,
) -> Result<LeaseReply, Problem> {
    let context = Context::of_space(context.space.clone());
    let validations = lease.locks.iter().map(async |lock| {
        let name = LockName::try_from(lock.lock.to_string());
        let token = FencingToken::try_from(lock.fencing_token.cast_signed());
        match (name, token) {
            (Ok(lock), Ok(fencing_token)) => {
                store.run(&Validate { lock, fencing_token }, &context).await.map(Some)
            }
            _ => Ok(None),
        }
    });
    let mut still_held = None;
    for validated in join_all(validations).await {
        match validated {
            Ok(Some(Completed { reply, .. })) => {
                still_held = Some((reply.expires_at, reply.expires_in_ms));
            }
            Ok(None) | Err(Error::Refused(_)) => {
                let detail = "The lease that this Idempotency-Key was answered with has ended. A new attempt needs a new key.";
                let first = lease.locks.first().map(|lock| lock.lock.as_str());
                let replayed = HeaderValue::from_static("true");
                return Err(Problem::new(codes::LEASE_EXPIRED, detail)
                    .with("lock", first)
                    .with("lease_id", lease.lease_id)
                    .with_header(api::REPLAYED, replayed));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(match still_held {
        Some((expires_at, expires_in_ms)) => LeaseReply { expires_at, expires_in_ms, ..lease },
        None => lease,
    })
}
