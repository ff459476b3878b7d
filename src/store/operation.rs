//! Operations: one atomic piece of business, its context, its reply and its errors. Every domain
//! implements [`Operation`] for its requests and hands them to [`super::Store`].

use std::sync::Arc;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Failure, Invocation};
use crate::{
    auth::Principal,
    types::{Code, FencingToken, Id},
};

/// One atomic business operation. The implementing type is the request.
pub trait Operation: Sync {
    /// The one name of the operation: its script under `migrations-lua/`, its span, its metric label.
    const NAME: &'static str;

    /// The problem codes of its domain. The script refuses with one of these or with one of
    /// [`crate::types::codes::CODES`].
    const CODES: &'static [Code];

    /// The fields that the script's header names after `ok`.
    type Reply: DeserializeOwned;

    /// Binds each key and argument, by name and in the order of the script's header.
    fn bind(&self, invocation: &mut Invocation);
}

/// Object-safe view of an operation: its name, keys and arguments.
pub trait ErasedOperation: Sync {
    /// The one name of the operation.
    fn name(&self) -> &'static str;

    /// Binds each key and argument, by name and in the order of the script's header.
    fn bind(&self, invocation: &mut Invocation);
}

impl<O: Operation> ErasedOperation for O {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn bind(&self, invocation: &mut Invocation) {
        Operation::bind(self, invocation);
    }
}

/// Several operations in one script: all of them happen or none does.
pub(super) struct Composite<'a> {
    pub operations: &'a [&'a dyn ErasedOperation],
    /// True to run them and write nothing.
    pub dry_run: bool,
}

impl Composite<'_> {
    /// The operation whose script contains every command.
    pub const NAME: &'static str = "atomic/run";
}

impl ErasedOperation for Composite<'_> {
    fn name(&self) -> &'static str {
        Composite::NAME
    }

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("dry_run", self.dry_run);
        for operation in self.operations {
            invocation.nested(*operation);
        }
    }
}

/// The space of a call, its idempotency key, its guards, and its caller.
#[derive(Debug, Clone)]
pub struct Context {
    /// All keys of a space share one hash tag.
    pub space: Id,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Locks that have to be held while the call runs, with the fencing tokens of their leases.
    pub guards: Vec<Guard>,
    /// The caller; `None` where the service has no keys, and for what it does itself.
    pub principal: Option<Arc<Principal>>,
}

/// A lock that has to be held by the lease with this fencing token. The script that does the work checks
/// it first.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "lock": "nightly-report", "fencing_token": 1_769_860_800_000_000_u64 }))]
pub struct Guard {
    /// Name of the lock.
    pub lock: Id,
    /// Fencing token of the lease that has to hold it.
    pub fencing_token: FencingToken,
}

impl Context {
    /// The same call without its guards, for what is read before the operation that they protect.
    pub fn without_guards(&self) -> Context {
        Context { guards: Vec::new(), ..self.clone() }
    }

    /// The context of what the service itself does in a space.
    pub fn of_space(space: Id) -> Context {
        Context { space, idempotency_key: None, guards: Vec::new(), principal: None }
    }
}

/// A reply, and whether it replays an earlier one.
#[derive(Debug)]
pub struct Completed<T> {
    /// The operation's reply.
    pub reply: T,
    /// True if the operation ran earlier under the same idempotency key and this is its first reply.
    pub replayed: bool,
}

impl<T> Completed<T> {
    /// Maps the reply.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Completed<U> {
        Completed { reply: make(self.reply), replayed: self.replayed }
    }
}

/// Why an operation gave no reply.
#[derive(Debug)]
pub enum Error {
    /// The script refused and changed nothing.
    Refused(Completed<Refusal>),
    /// The idempotency key belongs to another call.
    KeyReused,
    /// The operations need more keys or arguments than one script can take.
    TooLarge {
        /// `keys` or `arguments`.
        what: &'static str,
        /// The number needed.
        count: usize,
        /// The most that one script can take.
        most: usize,
    },
    /// The operation could not be sent, or its reply did not come.
    Failed(Failure),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Failed(failure)
    }
}

/// A refusal of a script: its code, and the fields that the header names after it.
#[derive(Debug)]
pub struct Refusal {
    /// The problem code.
    pub code: &'static Code,
    /// The members of the problem, by the names of the header.
    pub members: Map<String, Value>,
}
