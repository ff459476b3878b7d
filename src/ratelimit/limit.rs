//! The rule that a call is about: a policy by its name, or a rule in the fields of the call. Every
//! operation of this domain that touches a limit uses it.

use super::rule::{Algorithm, Rule};
use crate::{
    api::Problem,
    store::Invocation,
    types::{Id, LimitKey, Ttl},
};

/// Sub-buckets of a sliding counter where the call does not say.
const DEFAULT_BUCKETS: u64 = 60;

/// The fields of a rule, as a call has them.
#[derive(Debug, Default)]
pub struct RuleFields {
    /// `algorithm`, `token_bucket` by default.
    pub algorithm: Option<Algorithm>,
    /// `capacity` of a token bucket.
    pub capacity: Option<u64>,
    /// `refill_tokens` of a token bucket.
    pub refill_tokens: Option<u64>,
    /// `refill_interval_ms` of a token bucket.
    pub refill_interval_ms: Option<Ttl>,
    /// `limit` of every other algorithm.
    pub limit: Option<u64>,
    /// `window_ms` of the windows and of the sliding counter.
    pub window_ms: Option<Ttl>,
    /// `buckets` of a sliding counter.
    pub buckets: Option<u64>,
    /// `ttl_ms` of a concurrency limit.
    pub ttl_ms: Option<Ttl>,
}

/// Adds the fields of a rule to the body of a call, and a method `take_rule_fields` that returns them.
macro_rules! with_rule_fields {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        pub struct $name {
            $($body)*
            /// Algorithm of the rule, `token_bucket` by default. It decides which of the fields below
            /// are needed; the others must not be given.
            #[serde(default, deserialize_with = "crate::types::non_null")]
            #[schema(value_type = $crate::ratelimit::rule::Algorithm, required = false)]
            pub algorithm: Option<$crate::ratelimit::rule::Algorithm>,
            /// For `token_bucket`: number of tokens in a full bucket. Multiplied by
            /// `refill_interval_ms` it is at most 2^53 - 1.
            #[schema(minimum = 1)]
            pub capacity: Option<u64>,
            /// For `token_bucket`: number of tokens that come back in each interval.
            #[schema(minimum = 1)]
            pub refill_tokens: Option<u64>,
            /// For `token_bucket`: length of the refill interval in milliseconds.
            pub refill_interval_ms: Option<$crate::types::Ttl>,
            /// For every algorithm but `token_bucket`: the most units in a window, or at the same time.
            /// At most 10,000 for `sliding_window` and `concurrency`, and 2^53 - 1 for the others.
            #[schema(minimum = 1)]
            pub limit: Option<u64>,
            /// For `sliding_window`, `sliding_counter` and `fixed_window`: length of the window in
            /// milliseconds.
            pub window_ms: Option<$crate::types::Ttl>,
            /// For `sliding_counter`: the number of sub-buckets of a window, 60 by default.
            #[schema(minimum = 1, maximum = 1000)]
            pub buckets: Option<u64>,
            /// For `concurrency`: milliseconds after which a lease ends by itself.
            pub ttl_ms: Option<$crate::types::Ttl>,
        }

        impl $name {
            fn rule_fields(&self) -> $crate::ratelimit::limit::RuleFields {
                $crate::ratelimit::limit::RuleFields {
                    algorithm: self.algorithm,
                    capacity: self.capacity,
                    refill_tokens: self.refill_tokens,
                    refill_interval_ms: self.refill_interval_ms,
                    limit: self.limit,
                    window_ms: self.window_ms,
                    buckets: self.buckets,
                    ttl_ms: self.ttl_ms,
                }
            }
        }
    };
}

pub(super) use with_rule_fields;

impl RuleFields {
    /// Makes the rule of the fields of its algorithm.
    ///
    /// # Errors
    ///
    /// `validation_failed` if a field is missing, belongs to another algorithm, or is out of range.
    pub fn rule(&self) -> Result<Rule, Problem> {
        let algorithm = self.algorithm.unwrap_or_default();
        let needed: &[&str] = match algorithm {
            Algorithm::TokenBucket => &["capacity", "refill_tokens", "refill_interval_ms"],
            Algorithm::SlidingWindow | Algorithm::FixedWindow => &["limit", "window_ms"],
            Algorithm::SlidingCounter => &["limit", "window_ms", "buckets"],
            Algorithm::Concurrency => &["limit", "ttl_ms"],
        };
        if let Some(field) = self.given().find(|field| !needed.contains(field)) {
            let detail = format!("This algorithm has no {field}.");
            return Err(Problem::validation(&format!("/{field}"), detail));
        }
        let (rule, pointer) = match algorithm {
            Algorithm::TokenBucket => {
                let capacity = require("capacity", self.capacity)?;
                let tokens = require("refill_tokens", self.refill_tokens)?;
                let interval = require("refill_interval_ms", self.refill_interval_ms)?;
                (Rule::token_bucket(capacity, tokens, interval), "/capacity")
            }
            Algorithm::SlidingWindow => {
                let limit = require("limit", self.limit)?;
                (Rule::sliding_window(limit, require("window_ms", self.window_ms)?), "/limit")
            }
            Algorithm::SlidingCounter => {
                let limit = require("limit", self.limit)?;
                let window = require("window_ms", self.window_ms)?;
                let buckets = self.buckets.unwrap_or(DEFAULT_BUCKETS);
                let pointer = if self.buckets.is_some_and(|buckets| !(1..=1000).contains(&buckets))
                {
                    "/buckets"
                } else {
                    "/limit"
                };
                (Rule::sliding_counter(limit, window, buckets), pointer)
            }
            Algorithm::FixedWindow => {
                let limit = require("limit", self.limit)?;
                (Rule::fixed_window(limit, require("window_ms", self.window_ms)?), "/limit")
            }
            Algorithm::Concurrency => {
                let limit = require("limit", self.limit)?;
                (Rule::concurrency(limit, require("ttl_ms", self.ttl_ms)?), "/limit")
            }
        };
        rule.map_err(|invalid| Problem::invalid(&invalid, pointer))
    }

    /// The names of the fields that were given, `algorithm` aside.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let fields = [
            ("capacity", self.capacity.is_some()),
            ("refill_tokens", self.refill_tokens.is_some()),
            ("refill_interval_ms", self.refill_interval_ms.is_some()),
            ("limit", self.limit.is_some()),
            ("window_ms", self.window_ms.is_some()),
            ("buckets", self.buckets.is_some()),
            ("ttl_ms", self.ttl_ms.is_some()),
        ];
        fields.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

/// Returns a field that the algorithm needs, or a problem that points at it.
fn require<T>(name: &str, field: Option<T>) -> Result<T, Problem> {
    field.ok_or_else(|| {
        Problem::validation(&format!("/{name}"), format!("This algorithm needs {name}."))
    })
}

/// The rule that a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitRule {
    /// The policy of this name. The script reads its rule, so a change takes effect at once.
    Policy(Id),
    /// A rule that the call brings with it; it is stored nowhere.
    Inline(Rule),
}

impl LimitRule {
    /// Takes a policy, or the fields of a rule.
    ///
    /// # Errors
    ///
    /// `validation_failed` if there are both or neither, or the rule is not valid.
    pub fn new(policy: Option<Id>, fields: &RuleFields) -> Result<LimitRule, Problem> {
        let Some(policy) = policy else {
            return Ok(LimitRule::Inline(fields.rule()?));
        };
        let given = fields.algorithm.map(|_| "algorithm").or_else(|| fields.given().next());
        if let Some(field) = given {
            let detail = format!("A call that names a policy has no {field}.");
            return Err(Problem::validation(&format!("/{field}"), detail));
        }
        Ok(LimitRule::Policy(policy))
    }

    /// The name of the policy, empty for a rule of the call's own.
    pub fn policy(&self) -> &str {
        match self {
            LimitRule::Policy(policy) => policy.as_str(),
            LimitRule::Inline(_) => "",
        }
    }

    /// The policy that the call names.
    pub fn named_policy(&self) -> Option<Id> {
        match self {
            LimitRule::Policy(policy) => Some(policy.clone()),
            LimitRule::Inline(_) => None,
        }
    }

    /// Binds the keys `state_key` and `log_key` of a limit. Neither an id nor a shape has a slash, so two
    /// limits never share a name.
    pub fn bind_state(&self, invocation: &mut Invocation, key: &LimitKey) {
        let shape = match self {
            LimitRule::Policy(_) => String::new(),
            LimitRule::Inline(rule) => format!("{}/", rule.shape()),
        };
        let id = format!("{}/{shape}{key}", self.policy());
        invocation.key("state_key", "limit", &id).key("log_key", "limit_log", &id);
    }

    /// Binds the key `policy_key`, of an empty name for a rule of the call's own.
    pub fn bind_policy(&self, invocation: &mut Invocation) {
        invocation.key("policy_key", "limit_policy", self.policy());
    }

    /// Binds the key `policy_key` where the call names a policy.
    pub fn bind_policy_if_named(&self, invocation: &mut Invocation) {
        if let LimitRule::Policy(_) = self {
            self.bind_policy(invocation);
        }
    }

    /// Binds the arguments `code`, `limit`, `a`, `b` and `window_ms`, empty where a policy has them.
    pub fn bind_numbers(&self, invocation: &mut Invocation) {
        match self {
            LimitRule::Policy(_) => {
                let names = ["code", "limit", "a", "b", "window_ms"];
                names.into_iter().for_each(|name| _ = invocation.arg(name, ""));
            }
            LimitRule::Inline(rule) => bind_rule(invocation, *rule),
        }
    }
}

/// Binds the arguments `code`, `limit`, `a`, `b` and `window_ms` of a rule.
pub fn bind_rule(invocation: &mut Invocation, rule: Rule) {
    let (a, b) = rule.numbers();
    invocation
        .arg("code", rule.algorithm().code())
        .arg("limit", rule.limit())
        .arg("a", a)
        .arg("b", b)
        .arg("window_ms", rule.window_ms());
}
