//! The way of one call of `POST /locks`: its tries, its wait between them, and what is undone when its caller
//! goes away. `acquire` makes one for each call.

use std::{pin::Pin, sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::time::Instant;

use super::{
    CODES, codes,
    lease::{LeaseReply, LeasedLock, Mode},
    names::{LockNames, bind_index, bind_processes},
    waiters::{LockWait, Waiters},
    withdraw::Withdrawal,
};
use crate::{
    store::{Completed, Context, Error, Failure, GeneratedId, Invocation, Operation, Store},
    types::{Code, Metadata, Text, Timestamp, Ttl},
};

/// The pause before the next try where Redis gave no answer to one.
const RETRY: Duration = Duration::from_millis(250);

/// What a caller asks for, checked.
pub struct LockRequest {
    pub names: Arc<LockNames>,
    pub owner: Text<1, 200>,
    pub ttl_ms: Ttl,
    pub mode: Mode,
    /// For the mode `permit`; otherwise 0.
    pub permits: u32,
    pub metadata: Metadata,
    pub wait_ms: u64,
    pub lease_id: GeneratedId,
}

/// One try to acquire the locks. Tries of one call have the same lease, so a second one never acquires
/// them twice.
pub struct AcquireTry {
    request: Arc<LockRequest>,
    /// The waiter as it stands in the queues; empty for a call that does not wait.
    waiter: String,
    /// The place that the first try got in the queues.
    place: String,
    waited_ms: u128,
    is_last: bool,
    /// The message for other calls under the idempotency key.
    ended_message: String,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct TryReply {
    state: TryState,
    waited_ms: u64,
    place: Option<String>,
    try_after_ms: Option<u64>,
    was_alive: bool,
    lease_id: Option<String>,
    owner: Option<String>,
    mode: Option<Mode>,
    permits: Option<u32>,
    locks: Option<Vec<LeasedLock>>,
    expires_at: Option<Timestamp>,
    expires_in_ms: Option<u64>,
    metadata: Option<Metadata>,
}

/// The outcome of a try that was not refused.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TryState {
    Granted,
    Waiting,
}

impl Operation for AcquireTry {
    const NAME: &'static str = "locks/acquire";
    const CODES: &'static [Code] = CODES;
    type Reply = TryReply;

    fn bind(&self, invocation: &mut Invocation) {
        let request = &self.request;
        bind_processes(invocation);
        bind_index(invocation);
        request.names.bind_keys(invocation);
        invocation
            .arg("owner", Text::json(Some(&request.owner)))
            .arg("ttl_ms", request.ttl_ms)
            .arg("mode", request.mode.as_str())
            .arg("permits", request.permits)
            .arg("metadata", &request.metadata)
            .arg("wait_ms", request.wait_ms)
            .generated_id("lease_id", request.lease_id)
            .derived_arg("waiter", &self.waiter)
            .derived_arg("place", &self.place)
            .derived_arg("waited_ms", self.waited_ms)
            .derived_arg("is_last_try", self.is_last)
            .derived_arg("ended_message", &self.ended_message);
        request.names.bind_args(invocation);
    }
}

impl TryReply {
    /// The lease, and for how long the call waited for it; `None` if it still waits.
    fn into_lease(self) -> Option<(LeaseReply, u64)> {
        let lease = LeaseReply {
            lease_id: self.lease_id?,
            owner: self.owner?,
            mode: self.mode?,
            permits: self.permits,
            locks: self.locks?,
            expires_at: self.expires_at?,
            expires_in_ms: self.expires_in_ms?,
            metadata: self.metadata?,
        };
        Some((lease, self.waited_ms))
    }
}

type TryResult = Result<Completed<TryReply>, Error>;

/// A call on its way to a lease. Dropped before it has ended, because its caller has gone away, it leaves
/// the queue and gives back what it was granted, in a task of its own.
pub struct Acquisition {
    pub store: Store,
    pub context: Context,
    waiters: Waiters,
    request: Arc<LockRequest>,
    started: Instant,
    wait: Option<LockWait>,
    place: String,
    /// The try that was sent and not yet answered. It is completed whatever becomes of the caller.
    try_in_flight: Option<Pin<Box<dyn Future<Output = TryResult> + Send>>>,
    /// True where a lease or a place may be left that nobody wants.
    is_open: bool,
}

impl Acquisition {
    pub fn new(
        store: Store,
        context: Context,
        waiters: Waiters,
        request: LockRequest,
    ) -> Acquisition {
        let request = Arc::new(request);
        let wait = (request.wait_ms > 0).then(|| waiters.register(&store, &context, &request));
        Acquisition {
            store,
            context,
            waiters,
            request,
            started: Instant::now(),
            wait,
            place: String::new(),
            try_in_flight: None,
            is_open: false,
        }
    }

    /// Acquires the locks, waiting for as long as the request says.
    ///
    /// # Errors
    ///
    /// The refusal, or the failure of the store; `shutting_down` when the service ends meanwhile.
    pub async fn run(&mut self) -> Result<Completed<(LeaseReply, u64)>, Error> {
        let deadline = self.started + Duration::from_millis(self.request.wait_ms);
        loop {
            let is_last = !self.place.is_empty() && Instant::now() >= deadline;
            match self.try_once(is_last).await {
                Ok(Completed { reply, replayed }) if reply.state == TryState::Granted => {
                    // A repeat under an idempotency key has a place of its own, which nobody needs.
                    self.is_open = replayed && !self.place.is_empty();
                    let lease = reply.into_lease().ok_or_else(incomplete)?;
                    return Ok(Completed { reply: lease, replayed });
                }
                Ok(Completed { reply, .. }) => self.wait_in_queue(reply),
                Err(Error::Refused(refused)) => {
                    let has_left = refused.reply.code.code == codes::LOCK_WAIT_TIMEOUT.code;
                    self.is_open = !self.place.is_empty() && !has_left;
                    return Err(Error::Refused(refused));
                }
                Err(Error::Failed(failure)) if !self.place.is_empty() && !is_last => {
                    // The place in the queue is worth more than an early answer.
                    tracing::debug!(%failure, "a waiter's try had no answer");
                    if let Some(wait) = &self.wait {
                        wait.turn().set_if_none(Some(RETRY));
                    }
                }
                Err(error) => {
                    let may_hold =
                        matches!(&error, Error::Failed(failure) if failure.may_have_written());
                    self.is_open = may_hold || !self.place.is_empty();
                    return Err(error);
                }
            }
            let Some(wait) = &self.wait else { return Err(incomplete()) };
            tokio::select! {
                () = wait.turn().due(deadline) => {}
                () = self.store.draining() => {
                    // The instance that takes the repeat must not find this place before its own.
                    self.is_open = false;
                    let (withdrawal, context) = (self.withdrawal(), self.background_context());
                    // In a box, so that those who wait do not keep the room for it.
                    Box::pin(withdrawal.run(&self.store, &context)).await;
                    return Err(Failure::ShuttingDown.into());
                }
            }
        }
    }

    /// The locks that it is about.
    pub fn names(&self) -> &LockNames {
        &self.request.names
    }

    /// Sends one try, and waits for its reply.
    async fn try_once(&mut self, is_last: bool) -> TryResult {
        if let Some(wait) = &self.wait {
            wait.turn().clear();
        }
        let attempt = AcquireTry {
            request: Arc::clone(&self.request),
            waiter: self.wait.as_ref().map_or_else(String::new, |wait| wait.name.clone()),
            ended_message: self
                .wait
                .as_ref()
                .map_or_else(String::new, |wait| wait.ended_message.clone()),
            place: self.place.clone(),
            waited_ms: match self.place.as_str() {
                "" => 0,
                _ => self.started.elapsed().as_millis(),
            },
            is_last,
        };
        let (store, context) = (self.store.clone(), self.context.clone());
        self.is_open = true;
        let sent =
            self.try_in_flight.insert(Box::pin(async move { store.run(&attempt, &context).await }));
        let result = sent.await;
        self.try_in_flight = None;
        result
    }

    fn wait_in_queue(&mut self, reply: TryReply) {
        let is_new = self.place.is_empty();
        self.place = reply.place.unwrap_or_default();
        if let Some(wait) = &self.wait {
            wait.turn().set_if_none(reply.try_after_ms.map(Duration::from_millis));
        }
        if is_new {
            self.waiters.keep_places(&self.store, &self.context.space);
        }
        if !reply.was_alive {
            self.wait.iter().for_each(LockWait::try_others);
        }
    }

    /// What undoes the call. Under an idempotency key a lease stays for the repeat, which answers it.
    fn withdrawal(&self) -> Withdrawal {
        let LockRequest { names, lease_id, .. } = &*self.request;
        let lease_id = match self.context.idempotency_key {
            None => lease_id.to_string(),
            Some(_) => String::new(),
        };
        let waiter = self.wait.as_ref().map_or_else(String::new, |waiter| waiter.name.clone());
        Withdrawal { names: Arc::clone(names), lease_id, waiter }
    }

    fn background_context(&self) -> Context {
        Context::of_space(self.context.space.clone())
    }
}

impl Drop for Acquisition {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let (store, context) = (self.store.clone(), self.background_context());
        let (withdrawal, try_in_flight) = (self.withdrawal(), self.try_in_flight.take());
        self.store.spawn(async move {
            if let Some(sent) = try_in_flight {
                // Its grant must not come after it was given back.
                let _ = sent.await;
            }
            withdrawal.run(&store, &context).await;
        });
    }
}

fn incomplete() -> Error {
    Failure::UnexpectedReply("locks/acquire: neither a lease nor a place".to_owned()).into()
}
