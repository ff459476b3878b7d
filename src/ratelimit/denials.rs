//! Denials of the last two seconds: the same check is denied again without asking the store.
//!
//! A denial is remembered for its limit and its cost: a smaller cost may fit, and a greater one waits longer. Nothing
//! is ever allowed from here. What makes room in this process (a refund, a reset, another rule of the policy) ends
//! the denials of its limit by raising an epoch; what makes room elsewhere is seen when the denial is two seconds
//! old. `check` asks here before it asks the store.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use quick_cache::{Weighter, sync::Cache};

use super::{limit::LimitRule, rule::Rule};
use crate::{
    store::Clock,
    types::{Id, LimitKey},
};

/// The longest that a denial is remembered.
const MAX_AGE_US: i64 = 2_000_000;

/// The most bytes of all denials.
const MAX_BYTES: u64 = 16 << 20;

/// The bytes that a denial counts for beside its name, which is at most some 550 bytes long. There are at most
/// 65,536 denials.
const ENTRY_BYTES: u64 = 256;

/// Epochs are shared by the limits whose names have the same hash: a refund of one ends the denials of a few others.
const EPOCHS: usize = 1024;

/// The denials of one process.
pub struct Denials {
    known: Cache<String, Denial, ByBytes>,
    epochs: Arc<[AtomicU64]>,
    hasher: RandomState,
    started: Instant,
}

/// A check that is about to be sent: its name, and the state of this process before. A denial that arrives later
/// counts only if nothing has made room since.
pub struct PendingCheck {
    name: String,
    asked_at_us: i64,
    slots: [usize; 2],
    epochs: [u64; 2],
}

/// The figures of a denial. Instants are microseconds of this process.
#[derive(Debug, Clone, Copy)]
struct Denial {
    figures: Figures,
    /// Before the check was sent: until then the store would deny it too.
    asked_at_us: i64,
    /// After the reply had arrived: waits are counted from here, so that they are enough.
    answered_at_us: i64,
    epochs: [u64; 2],
}

/// What a denial says, with waits in milliseconds from the moment at which it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// The most units at once.
    pub limit: u64,
    /// The units that were left when the store denied the check.
    pub remaining: u64,
    /// How long until the same check fits.
    pub retry_after_ms: u64,
    /// How long until the limit is whole again.
    pub reset_after_ms: u64,
    /// How long a limit that was used up takes to be whole again.
    pub window_ms: u64,
}

/// Ends the denials of a limit when it is dropped: after the call that made room has its reply.
pub struct MakesRoom {
    epochs: Arc<[AtomicU64]>,
    slot: usize,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<String, Denial> for ByBytes {
    fn weight(&self, name: &String, _: &Denial) -> u64 {
        ENTRY_BYTES + name.len() as u64
    }
}

impl Default for Denials {
    fn default() -> Denials {
        let most = usize::try_from(MAX_BYTES / ENTRY_BYTES).unwrap_or(usize::MAX);
        Denials {
            known: Cache::with_weighter(most, MAX_BYTES, ByBytes),
            epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            started: Instant::now(),
        }
    }
}

impl Denials {
    /// Names a check of `cost` units that is about to be made in `space`.
    pub fn pending(
        &self,
        clock: &Clock,
        space: &Id,
        rule: &LimitRule,
        key: &LimitKey,
        cost: u64,
    ) -> PendingCheck {
        let slots =
            [self.slot_of_limit(space, rule, key), self.slot_of_policy(space, rule.policy())];
        PendingCheck {
            name: name(space, rule, key, cost),
            asked_at_us: self.now_us(clock),
            slots,
            epochs: self.epochs_of(slots),
        }
    }

    /// The denial of the same check that still holds.
    pub fn find(&self, pending: &PendingCheck) -> Option<Figures> {
        let denial = self.known.get(pending.name.as_str())?;
        let now_us = pending.asked_at_us;
        let age_us = now_us - denial.asked_at_us;
        let wait_us = micros(denial.figures.retry_after_ms).min(MAX_AGE_US);
        // The clock of tests steps back too.
        if denial.epochs != pending.epochs || !(0..wait_us).contains(&age_us) {
            return None;
        }
        let left = |ms: u64| millis(micros(ms) - (now_us - denial.answered_at_us));
        let figures = denial.figures;
        Some(Figures {
            retry_after_ms: left(figures.retry_after_ms),
            reset_after_ms: left(figures.reset_after_ms),
            ..figures
        })
    }

    /// Remembers that the store has denied a check.
    pub fn remember(&self, clock: &Clock, pending: PendingCheck, figures: Figures) {
        let PendingCheck { name, asked_at_us, slots, epochs } = pending;
        if epochs == self.epochs_of(slots) {
            let answered_at_us = self.now_us(clock);
            self.known.insert(name, Denial { figures, asked_at_us, answered_at_us, epochs });
        }
    }

    /// Forgets the denials of a limit once the result is dropped.
    pub fn make_room(&self, space: &Id, rule: &LimitRule, key: &LimitKey) -> MakesRoom {
        MakesRoom { epochs: Arc::clone(&self.epochs), slot: self.slot_of_limit(space, rule, key) }
    }

    /// Forgets the denials under a policy, which has another rule now.
    pub fn policy_changed(&self, space: &Id, policy: &str) {
        raise(&self.epochs, self.slot_of_policy(space, policy));
    }

    fn epochs_of(&self, slots: [usize; 2]) -> [u64; 2] {
        slots.map(|slot| self.epochs[slot].load(Ordering::SeqCst))
    }

    /// The epoch of a limit. Rules of one shape share what was taken, so they share the epoch.
    fn slot_of_limit(&self, space: &Id, rule: &LimitRule, key: &LimitKey) -> usize {
        let shape = match rule {
            LimitRule::Policy(_) => String::new(),
            LimitRule::Inline(rule) => rule.shape(),
        };
        self.slot((space, rule.policy(), shape, key))
    }

    fn slot_of_policy(&self, space: &Id, policy: &str) -> usize {
        self.slot((space, policy))
    }

    fn slot(&self, name: impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(name) % EPOCHS as u64).unwrap_or_default()
    }

    /// The present moment. It has the offset of the store's clock, which only tests move.
    fn now_us(&self, clock: &Clock) -> i64 {
        let elapsed = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        elapsed.saturating_add(clock.ahead_ms().saturating_mul(1000))
    }
}

impl Drop for MakesRoom {
    fn drop(&mut self) {
        raise(&self.epochs, self.slot);
    }
}

fn raise(epochs: &[AtomicU64], slot: usize) {
    epochs[slot].fetch_add(1, Ordering::SeqCst);
}

/// The name of a check. Neither an id nor a number has a slash, so two checks never share a name.
fn name(space: &Id, rule: &LimitRule, key: &LimitKey, cost: u64) -> String {
    match rule {
        LimitRule::Policy(policy) => format!("{space}/{policy}/{cost}/{key}"),
        LimitRule::Inline(rule) => format!("{space}//{}/{cost}/{key}", numbers(*rule)),
    }
}

fn numbers(rule: Rule) -> String {
    let (a, b) = rule.numbers();
    format!("{}-{}-{a}-{b}", rule.algorithm().code(), rule.limit())
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// Whole milliseconds, rounded up.
fn millis(us: i64) -> u64 {
    u64::try_from(us).unwrap_or(0).div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::try_from(text.to_owned()).unwrap()
    }

    fn key(text: &str) -> LimitKey {
        LimitKey::try_from(text.to_owned()).unwrap()
    }

    fn figures(retry_after_ms: u64) -> Figures {
        Figures { limit: 5, remaining: 1, retry_after_ms, reset_after_ms: 9000, window_ms: 10_000 }
    }

    struct Checks {
        denials: Denials,
        clock: Clock,
    }

    impl Checks {
        fn new() -> Checks {
            Checks { denials: Denials::default(), clock: Clock::default() }
        }

        fn ask(&self, space: &str, rule: &LimitRule, limited: &str, cost: u64) -> PendingCheck {
            self.denials.pending(&self.clock, &id(space), rule, &key(limited), cost)
        }

        fn deny(&self, pending: PendingCheck, retry_after_ms: u64) {
            self.denials.remember(&self.clock, pending, figures(retry_after_ms));
        }

        fn find(&self, rule: &LimitRule, cost: u64) -> Option<Figures> {
            self.denials.find(&self.ask("main", rule, "k", cost))
        }
    }

    #[test]
    fn only_the_same_check_is_denied() {
        let checks = Checks::new();
        let api = LimitRule::Policy(id("api"));
        checks.deny(checks.ask("main", &api, "k", 2), 1000);
        assert_eq!(checks.find(&api, 2).unwrap().limit, 5);
        for cost in [1, 3] {
            assert_eq!(checks.find(&api, cost), None, "{cost}");
        }
        let fixed = |limit: u64| {
            LimitRule::Inline(Rule::fixed_window(limit, crate::types::Ttl::from_ms(1000)).unwrap())
        };
        checks.deny(checks.ask("main", &fixed(5), "k", 2), 1000);
        for (space, rule, limited) in [
            ("main", &LimitRule::Policy(id("other")), "k"),
            ("main", &api, "k2"),
            ("other", &api, "k"),
            ("main", &fixed(6), "k"),
            // A key cannot imitate the parts before it.
            ("main", &LimitRule::Policy(id("a")), "pi/2/k"),
        ] {
            let pending = checks.ask(space, rule, limited, 2);
            assert_eq!(checks.denials.find(&pending), None, "{space} {rule:?} {limited}");
        }
    }

    #[test]
    fn waits_become_shorter_and_a_denial_ends_in_time() {
        let api = LimitRule::Policy(id("api"));
        for (retry_after_ms, last_ms) in [(800, 800), (60_000, 2000)] {
            let checks = Checks::new();
            checks.deny(checks.ask("main", &api, "k", 1), retry_after_ms);
            checks.clock.advance_ms(500);
            let found = checks.find(&api, 1).unwrap();
            // The test itself takes some time.
            let wait = found.retry_after_ms;
            assert!((1..=retry_after_ms - 500).contains(&wait), "{wait}");
            assert!(wait > retry_after_ms - 700, "{wait}");
            assert!(found.reset_after_ms <= 8500 && found.reset_after_ms > 8300);
            checks.clock.advance_ms(last_ms - 500);
            assert_eq!(checks.find(&api, 1), None);
        }
    }

    #[test]
    fn a_clock_that_steps_back_ends_a_denial() {
        let (checks, api) = (Checks::new(), LimitRule::Policy(id("api")));
        checks.clock.advance_ms(10_000);
        checks.deny(checks.ask("main", &api, "k", 1), 60_000);
        checks.clock.advance_ms(-10_000);
        assert_eq!(checks.find(&api, 1), None);
    }

    #[test]
    fn room_ends_denials_and_those_that_are_under_way() {
        let (checks, api) = (Checks::new(), LimitRule::Policy(id("api")));
        let under_way = checks.ask("main", &api, "k", 1);
        checks.deny(checks.ask("main", &api, "k", 1), 60_000);
        let room = checks.denials.make_room(&id("main"), &api, &key("k"));
        assert!(checks.find(&api, 1).is_some(), "the call that makes room has no reply yet");
        drop(room);
        assert_eq!(checks.find(&api, 1), None);
        checks.deny(under_way, 60_000);
        assert_eq!(checks.find(&api, 1), None);
        checks.deny(checks.ask("main", &api, "k", 1), 60_000);
        checks.denials.policy_changed(&id("main"), "api");
        assert_eq!(checks.find(&api, 1), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (checks, api) = (Checks::new(), LimitRule::Policy(id("api")));
        let long = "x".repeat(240);
        for number in 0..100_000 {
            let limited = format!("{long}{number}");
            checks.deny(checks.ask("main", &api, &limited, 1), 60_000);
        }
        assert!(checks.denials.known.weight() <= MAX_BYTES);
        assert!(checks.denials.known.len() > 10_000, "{}", checks.denials.known.len());
    }
}
