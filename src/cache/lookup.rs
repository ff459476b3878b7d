//! The way of one call of `POST /cache/get`: its tries, its wait between them, and what is undone when its caller goes
//! away. `get` makes one for each call.

use std::{pin::Pin, sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::{
    CODES, bind_entry, bind_tags,
    key::CacheKey,
    statistics::{Event, count},
    value::{StoredValue, ValueText},
    waiters::{EntryWait, EntryWaiters, Look, LookTurn, Seen},
    withdraw::LeaseWithdrawal,
};
use crate::{
    store::{
        Completed, Context, Error, Failure, GeneratedId, Invocation, Operation, ProcessId,
        RedisValue, Store,
    },
    types::{Code, Timestamp, Ttl},
};

/// A waiter looks for itself after so long at the latest: a message can be lost.
const LOOK: Duration = Duration::from_secs(1);

/// The pause before the next try where Redis gave no answer to one.
const RETRY: Duration = Duration::from_millis(250);

/// The most times that a call reads a large value anew because it was replaced meanwhile.
const MAX_REPLACED: u32 = 5;

/// A request of `POST /cache/get`, checked.
pub struct LookupRequest {
    pub key: CacheKey,
    pub lease_ms: Ttl,
    pub wait_ms: u64,
}

/// One try to get a value. Tries of one call ask for the same lease, so a second one never gets another.
struct LookupTry {
    request: Arc<LookupRequest>,
    lease_token: GeneratedId,
    /// The process that is told when somebody has filled the entry; `None` where nobody waits after this try.
    process: Option<ProcessId>,
    /// The stamp of a large value that is lost; empty otherwise.
    unreadable: Vec<u8>,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
struct LookupReply {
    state: ValueState,
    version: Option<u64>,
    age_ms: Option<u64>,
    expires_in_ms: Option<u64>,
    is_bytes: bool,
    field: Option<u64>,
    stamp: RedisValue,
    value: RedisValue,
    lease: LeaseHolder,
    lease_expires_at: Option<Timestamp>,
    retry_after_ms: u64,
    lease_lapsed: u64,
}

/// The worth of an entry's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ValueState {
    Fresh,
    Stale,
    /// Invalidated, and left for the time until the entry is filled.
    Kept,
    None,
}

/// The holder of the lease to fill an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LeaseHolder {
    Own,
    Other,
    None,
}

/// A lease to fill an entry, for the caller.
pub struct FillLease {
    pub token: String,
    pub expires_at: Timestamp,
}

/// A value that is served.
#[derive(Clone)]
pub struct Hit {
    pub value: ValueText,
    pub version: u64,
    pub age_ms: u64,
    pub expires_in_ms: u64,
    pub stale: bool,
}

/// The end of a lookup.
pub enum Found {
    /// A value, and a lease where the caller is to refresh it.
    Hit(Hit, Option<FillLease>),
    /// No value but perhaps one that was invalidated; the caller is to fill the entry.
    Lease(FillLease, Option<ValueText>),
    /// Likewise, and somebody else fills the entry, for so many milliseconds at most.
    Filling(u64, Option<ValueText>),
}

/// The result of one look.
enum Looked {
    Found(Found),
    /// Somebody else fills the entry, until then at the latest.
    Filling(Instant),
}

impl Operation for LookupTry {
    const NAME: &'static str = "cache/get";
    const CODES: &'static [Code] = CODES;
    type Reply = LookupReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_entry(invocation, &self.request.key);
        bind_tags(invocation)
            .arg("lease_ms", self.request.lease_ms)
            .generated_id("lease_token", self.lease_token)
            .derived_arg("process", self.process.map_or(String::new(), |id| id.to_string()))
            .derived_bytes("unreadable", &self.unreadable);
    }
}

type LookupResult = Result<Completed<LookupReply>, Error>;

/// A call on its way to a value. Dropped before it has ended, because its caller has gone away, it gives up the lease
/// that it was granted, in a task of its own.
pub struct Lookup {
    store: Store,
    context: Context,
    request: Arc<LookupRequest>,
    lease_token: GeneratedId,
    started: Instant,
    wait: Option<EntryWait>,
    has_waited: bool,
    /// True once the service ends, and waits with it.
    is_draining: bool,
    /// The try that was sent and not yet answered. It is completed whatever becomes of the caller.
    try_in_flight: Option<Pin<Box<dyn Future<Output = LookupResult> + Send>>>,
    /// True where a lease may be left that nobody fills.
    is_open: bool,
}

impl Lookup {
    pub fn new(store: Store, context: Context, request: LookupRequest) -> Lookup {
        // A get is repeated by asking again: a value is never stored a second time, under an idempotency key.
        let context = Context { idempotency_key: None, ..context };
        Lookup {
            store,
            context,
            request: Arc::new(request),
            lease_token: GeneratedId::new("lease_"),
            started: Instant::now(),
            wait: None,
            has_waited: false,
            is_draining: false,
            try_in_flight: None,
            is_open: false,
        }
    }

    /// Looks for the value, waiting for as long as the request says while somebody else fills the entry.
    ///
    /// # Errors
    ///
    /// The refusal of a guard, or the failure of the store.
    pub async fn run(&mut self) -> Result<Found, Error> {
        let deadline = self.started + Duration::from_millis(self.request.wait_ms);
        // Since when another waiter's look is as good as one of this call; the first look is always its own.
        let mut since = None;
        loop {
            let turn = match since {
                Some(_) if !self.is_draining => self.turn(deadline).await,
                _ => None,
            };
            let waits = !self.is_draining && Instant::now() < deadline;
            let filled_by = match self.seen_by_another(turn.as_ref(), since) {
                Some(Looked::Found(found)) => return Ok(found),
                Some(Looked::Filling(until)) => until,
                None => match self.look(waits, turn).await {
                    Ok(Looked::Found(found)) => return Ok(found),
                    Ok(Looked::Filling(until)) => until,
                    Err(Error::Failed(failure)) if waits && self.has_waited => {
                        tracing::debug!(%failure, "a waiter's try had no answer");
                        Instant::now() + RETRY
                    }
                    Err(error) => return Err(error),
                },
            };
            since = Some(self.wait(deadline.min(filled_by)).await);
        }
    }

    /// Waits for a change of the entry, or until a time, and returns since when a look tells of it.
    async fn wait(&mut self, until: Instant) -> Instant {
        let Some(wait) = &mut self.wait else { return Instant::now() };
        self.has_waited = true;
        tokio::select! {
            heard_at = wait.changed() => heard_at,
            () = sleep_until(until.min(Instant::now() + LOOK)) => {
                let now = Instant::now();
                now.checked_sub(LOOK / 2).unwrap_or(now).max(self.started)
            }
            () = self.store.draining() => {
                self.is_draining = true;
                Instant::now()
            }
        }
    }

    /// Waits until this call is the one of its process that looks; `None` where it looks for itself, because its
    /// time is over or it has guards.
    async fn turn(&mut self, deadline: Instant) -> Option<LookTurn> {
        let wait = self.wait.as_ref().filter(|_| self.context.guards.is_empty())?;
        tokio::select! {
            turn = wait.turn() => Some(turn),
            () = sleep_until(deadline) => None,
            () = self.store.draining() => {
                self.is_draining = true;
                None
            }
        }
    }

    /// Returns what another waiter has seen since then, if it holds for this call too.
    fn seen_by_another(&self, turn: Option<&LookTurn>, since: Option<Instant>) -> Option<Looked> {
        let look = turn?.as_ref().filter(|look| Some(look.sent_at) >= since)?;
        match &look.seen {
            Seen::Filling(until) => (*until > Instant::now()).then_some(Looked::Filling(*until)),
            Seen::Value(hit) => {
                let hit = hit.later(look.sent_at.elapsed())?;
                self.count([Some(Event::Hit), Some(Event::Wait(self.started.elapsed()))]);
                Some(Looked::Found(Found::Hit(hit, None)))
            }
        }
    }

    /// Looks itself, and leaves what it has seen to the others if it is its turn.
    async fn look(&mut self, waits: bool, turn: Option<LookTurn>) -> Result<Looked, Error> {
        let mut unreadable = Vec::new();
        for _ in 0..=MAX_REPLACED {
            let sent_at = Instant::now();
            let reply = self.try_once(waits, unreadable).await?;
            if waits && reply.is_being_filled() {
                let until = Instant::now() + Duration::from_millis(reply.retry_after_ms);
                leave(turn, sent_at, Seen::Filling(until));
                return Ok(Looked::Filling(until));
            }
            match self.found(reply).await? {
                Ok(found) => {
                    if let Found::Hit(hit, None) = &found
                        && !hit.stale
                        && self.wait.as_ref().is_some_and(EntryWait::has_company)
                    {
                        leave(turn, sent_at, Seen::Value(hit.clone()));
                    }
                    return Ok(Looked::Found(found));
                }
                Err(stamp) => unreadable = stamp,
            }
        }
        Err(Failure::Unavailable("the value is replaced faster than it is read".to_owned()).into())
    }

    /// Counts what this call has brought.
    fn count<const N: usize>(&self, events: [Option<Event>; N]) {
        events
            .into_iter()
            .flatten()
            .for_each(|event| count(&self.store, &self.context.space, event));
    }

    /// Sends one try, and returns its reply. One that `waits` has the process be told of the next change.
    async fn try_once(&mut self, waits: bool, unreadable: Vec<u8>) -> Result<LookupReply, Error> {
        if waits && self.wait.is_none() {
            let waiters: &EntryWaiters = self.store.local();
            self.wait = Some(waiters.register(&self.store, &self.context.space, &self.request.key));
        }
        self.wait.iter_mut().for_each(EntryWait::clear);
        let attempt = LookupTry {
            request: Arc::clone(&self.request),
            lease_token: self.lease_token,
            process: waits.then(|| self.store.process()),
            unreadable,
        };
        let (store, context) = (self.store.clone(), self.context.clone());
        self.is_open = true;
        let sent =
            self.try_in_flight.insert(Box::pin(async move { store.run(&attempt, &context).await }));
        let result = sent.await;
        self.try_in_flight = None;
        self.is_open = match &result {
            Ok(completed) => completed.reply.lease == LeaseHolder::Own,
            Err(Error::Failed(failure)) => failure.may_have_written(),
            Err(_) => false,
        };
        Ok(result?.reply)
    }

    /// Makes the end of a reply, with the value read; or returns the stamp of a large value that is lost. A lease is the
    /// caller's from here on.
    async fn found(&mut self, reply: LookupReply) -> Result<Result<Found, Vec<u8>>, Error> {
        let LookupReply { state, lease, lease_expires_at, retry_after_ms, .. } = reply;
        let stored = StoredValue::new(reply.value, reply.stamp, reply.field, reply.is_bytes);
        let mut value = None;
        if state != ValueState::None {
            match stored.read(&self.store, &self.context.space, &self.request.key).await? {
                Ok(read) => value = Some(read),
                Err(stamp) => return Ok(Err(stamp)),
            }
        }
        let lease = lease_expires_at
            .filter(|_| lease == LeaseHolder::Own)
            .map(|expires_at| FillLease { token: self.lease_token.to_string(), expires_at });
        let lapsed = (reply.lease_lapsed == 1).then_some(Event::LeaseLapsed);
        let leased = lease.is_some().then_some(Event::Lease);
        let waited = self.has_waited.then(|| Event::Wait(self.started.elapsed()));
        self.count([Some(state.event()), lapsed, leased, waited]);
        self.is_open = false;
        let is_hit = matches!(state, ValueState::Fresh | ValueState::Stale);
        Ok(Ok(match (value, lease) {
            (Some(value), lease) if is_hit => {
                let hit = Hit {
                    value,
                    version: reply.version.unwrap_or_default(),
                    age_ms: reply.age_ms.unwrap_or_default(),
                    expires_in_ms: reply.expires_in_ms.unwrap_or_default(),
                    stale: state == ValueState::Stale,
                };
                Found::Hit(hit, lease)
            }
            (kept, Some(lease)) => Found::Lease(lease, kept),
            (kept, None) => Found::Filling(retry_after_ms, kept),
        }))
    }
}

/// Leaves what a waiter has seen to those who have their turn after it.
fn leave(turn: Option<LookTurn>, sent_at: Instant, seen: Seen) {
    if let Some(mut turn) = turn {
        *turn = Some(Look { sent_at, seen });
    }
}

impl Hit {
    /// The same fresh value as it is after a time; `None` if it may have ended in that.
    fn later(&self, elapsed: Duration) -> Option<Hit> {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).ok()?;
        let expires_in_ms = self.expires_in_ms.checked_sub(elapsed_ms).filter(|ms| *ms > 0)?;
        Some(Hit { expires_in_ms, age_ms: self.age_ms + elapsed_ms, ..self.clone() })
    }
}

impl LookupReply {
    /// True if there is no value to be served, and somebody else is to fill the entry.
    fn is_being_filled(&self) -> bool {
        matches!(self.state, ValueState::Kept | ValueState::None)
            && self.lease == LeaseHolder::Other
    }
}

impl ValueState {
    /// The event that a call with this value counts as.
    fn event(self) -> Event {
        match self {
            ValueState::Fresh => Event::Hit,
            ValueState::Stale => Event::Stale,
            ValueState::Kept | ValueState::None => Event::Miss,
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let (store, context) = (self.store.clone(), self.context.clone());
        let (key, lease_token) = (self.request.key.clone(), self.lease_token.to_string());
        let (withdrawal, in_flight) =
            (LeaseWithdrawal { key, lease_token }, self.try_in_flight.take());
        self.store.spawn(async move {
            if let Some(sent) = in_flight {
                // Its lease must not come after it was given up.
                let _ = sent.await;
            }
            withdrawal.run(&store, &context).await;
        });
    }
}
