//! The names of locks as requests give them: one, or several that are acquired together. Every call of
//! this domain that takes both `lock` and `locks` reads them here.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::{Problem, ReservedNames},
    store::Invocation,
    types::{Id, Invalid},
};

/// Names that no lock can have, because paths hide them.
static RESERVED: LazyLock<ReservedNames> =
    LazyLock::new(|| ReservedNames::beside(super::router(), "/locks/{lock}"));

/// The most locks of one lease.
const MAX_LOCKS: usize = 32;

/// The name of a lock, an id that is not `release`, `renew`, `validate` or `break`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$", example = "nightly-report")]
pub struct LockName(Id);

/// Fails with `invalid_id`.
impl TryFrom<String> for LockName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<LockName, Invalid> {
        RESERVED.check_id(Id::try_from(text)?).map(LockName)
    }
}

impl LockName {
    /// The name as an id.
    pub fn id(&self) -> &Id {
        &self.0
    }
}

/// The locks of one call, in the order of their names.
#[derive(Debug, Clone)]
pub struct LockNames {
    names: Vec<LockName>,
    /// True where the request had `lock` and not `locks`.
    is_one: bool,
}

impl LockNames {
    /// The locks of a request that has either `lock` or `locks`.
    ///
    /// # Errors
    ///
    /// `validation_failed` if it has both or none, not 2 to 32 of them, or one of them twice.
    pub fn of(lock: Option<LockName>, locks: Option<Vec<LockName>>) -> Result<LockNames, Problem> {
        let mut names = match (lock, locks) {
            (Some(lock), None) => return Ok(LockNames { names: vec![lock], is_one: true }),
            (None, Some(locks)) => locks,
            (None, None) => {
                return Err(Problem::validation("/lock", "Name a lock, or several as locks."));
            }
            (Some(_), Some(_)) => {
                return Err(Problem::validation("/locks", "Give either lock or locks, not both."));
            }
        };
        if !(2..=MAX_LOCKS).contains(&names.len()) {
            return Err(Problem::validation("/locks", "There are 2 to 32 locks."));
        }
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                let detail = "A lock is named once.";
                return Err(Problem::validation(&format!("/locks/{index}"), detail));
            }
        }
        names.sort();
        Ok(LockNames { names, is_one: false })
    }

    /// The one lock of a call that has `lock` and not `locks`.
    pub fn one(&self) -> Option<&Id> {
        self.names.first().filter(|_| self.is_one).map(LockName::id)
    }

    /// All names, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &Id> {
        self.names.iter().map(LockName::id)
    }

    /// All names, for an answer to a call that had `locks`; `None` for one that had `lock`.
    pub fn several(&self) -> Option<Vec<Id>> {
        (!self.is_one).then(|| self.iter().cloned().collect())
    }

    /// Binds the record and the queue of each lock.
    pub fn bind_keys(&self, invocation: &mut Invocation) {
        for name in self.iter() {
            bind_lock(invocation, name).derived_key("queue_key", "lock_queue", name);
        }
    }

    /// Binds the name of each lock. They are the last arguments of an operation.
    pub fn bind_args(&self, invocation: &mut Invocation) {
        for name in self.iter() {
            invocation.arg("lock_name", name);
        }
    }
}

/// Binds the key of a lock, `lockstep:{space}:lock:<name>`.
pub fn bind_lock<'a>(invocation: &'a mut Invocation, name: &Id) -> &'a mut Invocation {
    invocation.key("lock_key", "lock", name)
}

/// Binds the key of the processes in which somebody waits for a lock of this space.
pub fn bind_processes(invocation: &mut Invocation) -> &mut Invocation {
    invocation.derived_key("processes_key", "processes", "locks")
}

/// Binds the keys of the index of locks, which an operation that makes a lease last changes.
pub fn bind_index(invocation: &mut Invocation) -> &mut Invocation {
    invocation.derived_key("index_key", "index", "locks").derived_key(
        "ends_key",
        "index",
        "lock_ends",
    )
}
