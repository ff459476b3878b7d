//! `POST /ratelimit`: takes units from a rate limit, or denies them.

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    CODES, codes,
    rule::{Algorithm, Rule},
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, Ttl, enum_from_str},
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Takes units from a rate limit. The rule is part of the request; it is stored nowhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Check, example = json!({
    "key": "tenant-7",
    "cost": 1,
    "algorithm": "token_bucket",
    "capacity": 100,
    "refill_tokens": 10,
    "refill_interval_ms": 1000
}))]
pub struct CheckRequest {
    /// Name of what is limited, such as a tenant or a user.
    pub key: Id,
    /// Units to take, from 1 up to the whole limit.
    #[serde(default = "CheckRequest::default_cost")]
    #[schema(minimum = 1, default = 1)]
    pub cost: u64,
    /// Says how a denied check is answered.
    #[serde(default, deserialize_with = "enum_from_str")]
    pub on_deny: OnDeny,
    /// Algorithm of the limit. It decides which of the fields below are needed; the others must not
    /// be given.
    #[serde(default, deserialize_with = "enum_from_str")]
    pub algorithm: Algorithm,
    /// For `token_bucket`: number of tokens in a full bucket. Multiplied by `refill_interval_ms` it is
    /// at most 2^53 - 1.
    #[schema(minimum = 1)]
    pub capacity: Option<u64>,
    /// For `token_bucket`: number of tokens that come back in each interval.
    #[schema(minimum = 1)]
    pub refill_tokens: Option<u64>,
    /// For `token_bucket`: length of the refill interval in milliseconds.
    pub refill_interval_ms: Option<Ttl>,
    /// For `sliding_window`: the most units in any window, 1 to 10,000.
    #[schema(minimum = 1, maximum = 10_000)]
    pub limit: Option<u64>,
    /// For `sliding_window`: length of the window in milliseconds.
    pub window_ms: Option<Ttl>,
}

/// The answer to a denied check: `429` as the problem `rate_limited`, `200` as a result with
/// `allowed: false`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum OnDeny {
    /// The answer is the problem `rate_limited` with the status 429.
    #[default]
    #[serde(rename = "429")]
    TooManyRequests,
    /// The answer has the status 200 and `allowed: false`.
    #[serde(rename = "200")]
    Ok,
}

/// The decision of a rate limit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "key": "tenant-7",
    "allowed": true,
    "limit": 100,
    "remaining": 99,
    "retry_after_ms": 0,
    "reset_after_ms": 100,
    "cost": 1
}))]
pub struct Decision {
    /// Name of what is limited.
    pub key: Id,
    /// True if the units were taken.
    pub allowed: bool,
    /// The most units at once: `capacity` of a token bucket, `limit` of a sliding window.
    pub limit: u64,
    /// Units that are left after this check.
    pub remaining: u64,
    /// Milliseconds after which a denied check would be allowed; 0 for one that was allowed.
    pub retry_after_ms: u64,
    /// Milliseconds after which the limit is whole again if nothing more is taken.
    pub reset_after_ms: u64,
    /// Units that were asked for.
    pub cost: u64,
}

/// A check whose rule and cost have been checked.
pub struct RateLimitCheck {
    key: Id,
    cost: u64,
    rule: Rule,
    on_deny: OnDeny,
}

impl CheckRequest {
    fn default_cost() -> u64 {
        1
    }

    /// Makes the rule of the fields of the chosen algorithm.
    ///
    /// # Errors
    ///
    /// `validation_failed` if a field is missing, belongs to the other algorithm, or is out of range.
    fn rule(&self) -> Result<Rule, Problem> {
        let (rule, pointer) = match self.algorithm {
            Algorithm::TokenBucket => {
                forbid("limit", self.limit.is_some())?;
                forbid("window_ms", self.window_ms.is_some())?;
                let capacity = require("capacity", self.capacity)?;
                let tokens = require("refill_tokens", self.refill_tokens)?;
                let interval = require("refill_interval_ms", self.refill_interval_ms)?;
                (Rule::token_bucket(capacity, tokens, interval), "/capacity")
            }
            Algorithm::SlidingWindow => {
                forbid("capacity", self.capacity.is_some())?;
                forbid("refill_tokens", self.refill_tokens.is_some())?;
                forbid("refill_interval_ms", self.refill_interval_ms.is_some())?;
                let limit = require("limit", self.limit)?;
                let window = require("window_ms", self.window_ms)?;
                (Rule::sliding_window(limit, window), "/limit")
            }
        };
        rule.map_err(|invalid| Problem::invalid(&invalid, pointer))
    }
}

/// Returns a field that the algorithm needs, or a problem that points at it.
fn require<T>(name: &str, field: Option<T>) -> Result<T, Problem> {
    field.ok_or_else(|| {
        Problem::validation(&format!("/{name}"), format!("This algorithm needs {name}."))
    })
}

/// Refuses a field that belongs to the other algorithm.
fn forbid(name: &str, given: bool) -> Result<(), Problem> {
    if given {
        let detail = format!("This algorithm has no {name}.");
        return Err(Problem::validation(&format!("/{name}"), detail));
    }
    Ok(())
}

impl Operation for RateLimitCheck {
    const NAME: &'static str = "ratelimit/check";
    const CODES: &'static [Code] = CODES;
    type Reply = Decision;

    fn bind(&self, invocation: &mut Invocation) {
        let (algorithm, per_token, per_ms) = match self.rule {
            Rule::TokenBucket { per_token, per_ms, .. } => {
                invocation.key("state_key", "bucket", &self.key);
                ("token_bucket", per_token, per_ms)
            }
            Rule::SlidingWindow { window_ms, .. } => {
                // Windows of different lengths have logs of their own: a check of the shorter one
                // would drop entries that the longer one still counts.
                invocation.key("state_key", "window", format_args!("{}/{window_ms}", self.key));
                ("sliding_window", window_ms, 0)
            }
        };
        invocation
            .arg("key", &self.key)
            .arg("cost", self.cost)
            .arg("algorithm", algorithm)
            .arg("limit", self.rule.limit())
            .arg("per_token", per_token)
            .arg("per_ms", per_ms);
    }
}

impl Command for CheckRequest {
    type Operation = RateLimitCheck;
    type Output = Decision;

    async fn prepare(self, _: &Store, _: &Context) -> Result<RateLimitCheck, Problem> {
        let rule = self.rule()?;
        let CheckRequest { key, cost, on_deny, .. } = self;
        if cost == 0 {
            return Err(Problem::validation("/cost", "A cost is at least 1."));
        }
        if cost > rule.limit() {
            let members = [("cost", cost.into()), ("limit", rule.limit().into())];
            return Err(Problem::refused(codes::COST_EXCEEDS_LIMIT, members));
        }
        Ok(RateLimitCheck { key, cost, rule, on_deny })
    }

    fn answer(
        check: &RateLimitCheck,
        result: Result<Completed<Decision>, store::Error>,
    ) -> api::Result<Decision> {
        let policy = policy_header(check.rule);
        let denied = match result {
            Ok(completed) => {
                let Decision { remaining, reset_after_ms, .. } = completed.reply;
                let state = state_header(remaining, reset_after_ms);
                let answer = Answer::ok(completed);
                return Ok(answer.with_header(POLICY, policy).with_header(STATE, state));
            }
            Err(store::Error::Refused(denied)) => denied,
            Err(error) => return Err(error.into()),
        };
        let members = &denied.reply.members;
        let number = |name: &str| members.get(name).and_then(Value::as_u64).unwrap_or_default();
        let state = state_header(number("remaining"), number("reset_after_ms"));
        // The members of the refusal are the fields of a decision.
        if check.on_deny == OnDeny::Ok
            && let Ok(reply) = serde_json::from_value(Value::Object(members.clone()))
        {
            let answer = Answer::ok(Completed { reply, replayed: denied.replayed });
            return Ok(answer.with_header(POLICY, policy).with_header(STATE, state));
        }
        let problem = Problem::from(store::Error::Refused(denied));
        Err(problem.with_header(POLICY, policy).with_header(STATE, state))
    }
}

/// Check a rate limit
///
/// The whole `cost` is taken from the limit, or the check is denied and nothing is taken. The headers
/// `RateLimit-Policy` and `RateLimit` carry the rule and its state in seconds, for clients and gateways.
#[utoipa::path(
    post,
    path = "/ratelimit",
    operation_id = RateLimitCheck::NAME,
    tag = "ratelimit",
    request_body = CheckRequest,
    responses((status = OK, body = Decision, description = "The units were taken; or the check was denied and `on_deny` is `200`.")),
    extensions(("x-refusals" = json!(["cost_exceeds_limit"]))),
)]
pub async fn check(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<CheckRequest>,
) -> api::Result<Decision> {
    request.run(&store, &context).await
}

/// The value of `RateLimit-Policy`: the quota `q` and the window `w` in seconds
/// (draft-ietf-httpapi-ratelimit-headers-10).
fn policy_header(rule: Rule) -> HeaderValue {
    header_value(format!("\"default\";q={};w={}", rule.limit(), rule.window_seconds()))
}

/// The value of `RateLimit`: the remaining units `r` and the seconds `t` until the limit is whole
/// again, rounded up (draft-ietf-httpapi-ratelimit-headers-10).
fn state_header(remaining: u64, reset_after_ms: u64) -> HeaderValue {
    header_value(format!("\"default\";r={remaining};t={}", reset_after_ms.div_ceil(1000)))
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
