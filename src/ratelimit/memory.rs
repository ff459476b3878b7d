//! What this process remembers of limits beside the store: policies, for the time when the store does not
//! answer, and denials of the last two seconds. The calls that decide a check look here.

use super::{denials::Denials, get_policy::StoredPolicy, known_policies::KnownPolicies};
use crate::{
    store::{Context, Store},
    types::Id,
};

/// The memory of one store.
#[derive(Default)]
pub struct Memory {
    /// The policies that checks have named.
    pub policies: KnownPolicies,
    /// What was denied a moment ago.
    pub denials: Denials,
}

impl Memory {
    /// The memory that belongs to a store.
    pub fn of(store: &Store) -> &Memory {
        store.local()
    }

    /// Takes over a policy that this process has just put.
    pub fn policy_changed(&self, space: &Id, policy: &StoredPolicy) {
        self.policies.changed(space, policy);
        self.denials.policy_changed(space, policy.name());
    }

    /// Forgets a policy that this process has just deleted.
    pub fn policy_deleted(&self, space: &Id, policy: &Id) {
        self.policies.deleted(space, policy);
        self.denials.policy_changed(space, policy.as_str());
    }

    /// True for a call that may be answered without the store. Only the store knows what was answered under an
    /// idempotency key, and whether a guard holds.
    pub fn may_answer(context: &Context) -> bool {
        context.idempotency_key.is_none() && context.guards.is_empty()
    }
}
