//! The policies that checks have named, as this process knows them: for the answers of `on_store_error` while the
//! store does not answer, and to tell whose denials may be remembered.
//!
//! A policy is known from the moment that [`follow_policies`] has read it, which is a moment after its first check,
//! and is read again every second. `check`, `check_all` and `peek` run through [`KnownPolicies::run`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use quick_cache::sync::Cache;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    decision::DecidedBy,
    get_policy::{OnStoreError, StoredPolicy},
    headers::LimitState,
    limit::LimitRule,
    list_policies::ListPolicies,
    memory::Memory,
    rule::Algorithm,
};
use crate::{
    api::ScanStep,
    store::{self, Completed, Context, Operation, Store},
    types::Id,
};

/// The most policies that are known. The one that was not named for the longest time makes room.
const MAX_KNOWN: usize = 512;

/// The most policies that one script reads.
const MAX_READ: usize = 128;

/// The time after which known policies are read again.
const PERIOD: Duration = Duration::from_secs(1);

/// The longest that a check waits for the store where its policies say what to answer in place of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The policies that one process knows.
pub struct KnownPolicies {
    /// By `<space>/<policy>`; `None` for one that has still to be read.
    known: Cache<String, Option<Arc<KnownPolicy>>>,
    wanted: Notify,
    /// True from a check that the store did not answer to the next read that it does.
    is_away: AtomicBool,
}

/// A policy as a process knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownPolicy {
    version: u64,
    /// True for a policy that only counts.
    pub shadow: bool,
    /// What a check is told while the store does not answer.
    pub on_store_error: OnStoreError,
    /// Algorithm of the rule.
    pub algorithm: Algorithm,
    /// The most units at once.
    pub limit: u64,
    /// How long a limit that was used up takes to be whole again, in milliseconds.
    pub window_ms: u64,
}

/// What came of a call that its policies could answer.
pub enum StoreAnswer<R> {
    /// The store has answered, or only the store could have.
    Given(Result<Completed<R>, store::Error>),
    /// The store does not answer; these are the policies of the call, in its order.
    Away(Vec<Arc<KnownPolicy>>),
}

impl KnownPolicy {
    /// The policy that a script has read; `None` where its rule is none that this version knows.
    fn of(stored: &StoredPolicy) -> Option<KnownPolicy> {
        let described = stored.rule();
        let rule = described.fields().rule().ok()?;
        Some(KnownPolicy {
            version: stored.version(),
            shadow: described.shadow,
            on_store_error: described.on_store_error,
            algorithm: rule.algorithm(),
            limit: rule.limit(),
            window_ms: rule.window_ms(),
        })
    }

    /// What headers say of the limit while nothing is counted.
    pub fn limit_state(&self, name: &str) -> LimitState {
        let name = name.to_owned();
        LimitState { name, limit: self.limit, window_ms: self.window_ms, left: None }
    }

    /// True if a check is allowed while the store does not answer. A policy that only counts denies nothing.
    pub fn allows_while_away(&self) -> bool {
        self.shadow || self.on_store_error == OnStoreError::Allow
    }

    /// True if the policy says what to answer in place of the store.
    fn stands_in(&self) -> bool {
        self.on_store_error != OnStoreError::Error
    }
}

impl Default for KnownPolicies {
    fn default() -> KnownPolicies {
        KnownPolicies {
            known: Cache::new(MAX_KNOWN),
            wanted: Notify::new(),
            is_away: AtomicBool::new(false),
        }
    }
}

impl KnownPolicies {
    /// The policy of a rule; `None` for a rule of the call's own, and for a policy that is not known.
    pub fn find(&self, space: &Id, rule: &LimitRule) -> Option<Arc<KnownPolicy>> {
        let LimitRule::Policy(policy) = rule else { return None };
        self.known.get(place(space, policy).as_str()).flatten()
    }

    /// Runs an operation on limits with these rules. Where the policies of all of them say what to answer while the
    /// store does not, waits a second at most, and not at all while the store is known to be away.
    pub async fn run<'a, O: Operation>(
        &self,
        store: &Store,
        context: &Context,
        operation: &O,
        rules: impl Iterator<Item = &'a LimitRule> + Clone,
    ) -> StoreAnswer<O::Reply> {
        let stand_in = self.stand_in(context, rules.clone());
        let Some(policies) = stand_in else {
            let result = store.run(operation, context).await;
            self.note(&context.space, rules, &result);
            return StoreAnswer::Given(result);
        };
        if self.is_away.load(Ordering::Relaxed) {
            DecidedBy::OnStoreError.count();
            return StoreAnswer::Away(policies);
        }
        let most = PATIENCE.min(store.timeout());
        match timeout(most, store.run(operation, context)).await {
            Ok(Err(store::Error::Failed(failure))) if failure.is_of_server() => {
                self.went_away(&failure.to_string());
            }
            Ok(result) => return StoreAnswer::Given(result),
            Err(_) => self.went_away("no answer in time"),
        }
        DecidedBy::OnStoreError.count();
        StoreAnswer::Away(policies)
    }

    /// The policies of all rules, where each of them has an answer in place of the store's.
    fn stand_in<'a>(
        &self,
        context: &Context,
        rules: impl Iterator<Item = &'a LimitRule>,
    ) -> Option<Vec<Arc<KnownPolicy>>> {
        if !Memory::may_answer(context) {
            return None;
        }
        let known = |rule| self.find(&context.space, rule).filter(|policy| policy.stands_in());
        rules.map(known).collect()
    }

    /// Has the policies of a call read that the store has just answered by, if they are not known.
    fn note<'a, R>(
        &self,
        space: &Id,
        rules: impl Iterator<Item = &'a LimitRule>,
        result: &Result<Completed<R>, store::Error>,
    ) {
        let has_policies = match result {
            Ok(_) => true,
            Err(store::Error::Refused(refused)) => refused.reply.code.status == 429,
            Err(_) => false,
        };
        if !has_policies {
            return;
        }
        for rule in rules {
            let LimitRule::Policy(policy) = rule else { continue };
            let place = place(space, policy);
            if self.known.get(place.as_str()).is_none() {
                self.known.insert(place, None);
                self.wanted.notify_one();
            }
        }
    }

    /// Takes over a policy that this process has just changed, if it is known.
    pub fn changed(&self, space: &Id, stored: &StoredPolicy) {
        let place = format!("{space}/{}", stored.name());
        if self.known.peek(place.as_str()).is_some() {
            self.known.insert(place, KnownPolicy::of(stored).map(Arc::new));
        }
    }

    /// Forgets a policy that was deleted.
    pub fn deleted(&self, space: &Id, policy: &Id) {
        self.known.remove(place(space, policy).as_str());
    }

    fn went_away(&self, cause: &str) {
        if !self.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                cause,
                "the store does not answer; checks are answered by on_store_error"
            );
        }
    }

    fn came_back(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!("the store answers again; checks are decided by it");
        }
    }

    /// Reads known policies, or only those that have still to be read, in one script for each space and each 128 of
    /// them. What cannot be read stays as it is known.
    async fn read(&self, store: &Store, only_wanted: bool) {
        let mut of_space: HashMap<Id, Vec<Id>> = HashMap::new();
        for (place, _) in self.known.iter().filter(|(_, known)| !only_wanted || known.is_none()) {
            let Some((space, policy)) = place.split_once('/') else { continue };
            if let (Ok(space), Ok(policy)) =
                (Id::try_from(space.to_owned()), Id::try_from(policy.to_owned()))
            {
                of_space.entry(space).or_default().push(policy);
            }
        }
        let reads = of_space.iter().flat_map(|(space, policies)| {
            policies.chunks(MAX_READ).map(move |chunk| self.read_chunk(store, space, chunk))
        });
        join_all(reads).await;
    }

    async fn read_chunk(&self, store: &Store, space: &Id, policies: &[Id]) {
        let operation = ListPolicies(ScanStep::reading(policies.to_vec(), 1));
        let read = store.run(&operation, &Context::of_space(space.clone())).await;
        let stored = match read {
            Ok(completed) => completed.reply.items,
            Err(error) => return tracing::debug!(?error, "policies could not be read again"),
        };
        self.came_back();
        let denials = &Memory::of(store).denials;
        for policy in policies {
            let now = stored.iter().find(|stored| stored.name() == policy.as_str());
            let now = now.and_then(KnownPolicy::of).map(Arc::new);
            let place = place(space, policy);
            let before = self.known.peek(place.as_str()).flatten();
            if before != now {
                denials.policy_changed(space, policy.as_str());
            }
            match now {
                Some(now) => self.known.insert(place, Some(now)),
                None => drop(self.known.remove(place.as_str())),
            }
        }
    }
}

/// Neither of the two has a slash.
fn place(space: &Id, policy: &Id) -> String {
    format!("{space}/{policy}")
}

/// Reads the policies that checks name, each when it is first named and then every second, until the service shuts
/// down.
pub async fn follow_policies(store: Store) {
    let policies = &Memory::of(&store).policies;
    let follow = async {
        let mut pause = interval(PERIOD);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let only_wanted = tokio::select! {
                _ = pause.tick() => false,
                () = policies.wanted.notified() => true,
            };
            policies.read(&store, only_wanted).await;
        }
    };
    tokio::select! {
        () = store.draining() => {}
        () = follow => {}
    }
}
