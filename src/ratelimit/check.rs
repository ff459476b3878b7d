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
    types::{Code, Id, Invalid, Ttl, enum_from_str},
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// What is asked of a limit, with the rule beside it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "key": "tenant-7",
    "cost": 1,
    "algorithm": "token_bucket",
    "capacity": 100,
    "refill_tokens": 10,
    "refill_interval_ms": 1000
}))]
pub struct Check {
    /// Who or what is limited.
    pub key: Id,
    /// How much is taken.
    #[serde(default = "Check::default_cost")]
    #[schema(minimum = 1, default = 1)]
    pub cost: u64,
    /// Whether a denial is the problem `rate_limited` or a plain 200 with `allowed: false`.
    #[serde(default, deserialize_with = "enum_from_str")]
    pub on_deny: OnDeny,
    #[serde(default, deserialize_with = "enum_from_str")]
    pub algorithm: Algorithm,
    /// Of a token bucket: the most tokens at once.
    #[schema(minimum = 1)]
    pub capacity: Option<u64>,
    /// Of a token bucket: how many come back in every interval.
    #[schema(minimum = 1)]
    pub refill_tokens: Option<u64>,
    /// Of a token bucket: the interval.
    pub refill_interval_ms: Option<Ttl>,
    /// Of a sliding window: the most in any window.
    #[schema(minimum = 1, maximum = 10_000)]
    pub limit: Option<u64>,
    /// Of a sliding window: its length.
    pub window_ms: Option<Ttl>,
}

/// How a denial is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum OnDeny {
    /// As the problem `rate_limited`.
    #[default]
    #[serde(rename = "429")]
    TooManyRequests,
    /// As an answer with `allowed: false`.
    #[serde(rename = "200")]
    Ok,
}

/// What a limit says.
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
    pub key: Id,
    pub allowed: bool,
    /// The most at once.
    pub limit: u64,
    /// What is left.
    pub remaining: u64,
    /// When the same would be allowed; 0 where it was.
    pub retry_after_ms: u64,
    /// When the whole limit is there again.
    pub reset_after_ms: u64,
    pub cost: u64,
}

/// The same, with a rule that makes sense.
pub struct CheckRequest {
    key: Id,
    cost: u64,
    rule: Rule,
    on_deny: OnDeny,
}

impl Check {
    fn default_cost() -> u64 {
        1
    }

    fn rule(&self) -> Result<Rule, Problem> {
        let missing = |name: &str| {
            let detail = format!("This algorithm needs {name}.");
            Problem::invalid(&Invalid::new("validation_failed", detail), &format!("/{name}"))
        };
        let foreign = |given: bool, name: &str| match given {
            false => Ok(()),
            true => {
                let detail = format!("This algorithm has no {name}.");
                let invalid = Invalid::new("validation_failed", detail);
                Err(Problem::invalid(&invalid, &format!("/{name}")))
            }
        };
        let (rule, pointer) = match self.algorithm {
            Algorithm::TokenBucket => {
                foreign(self.limit.is_some(), "limit")?;
                foreign(self.window_ms.is_some(), "window_ms")?;
                let capacity = self.capacity.ok_or_else(|| missing("capacity"))?;
                let tokens = self.refill_tokens.ok_or_else(|| missing("refill_tokens"))?;
                let interval =
                    self.refill_interval_ms.ok_or_else(|| missing("refill_interval_ms"))?;
                (Rule::token_bucket(capacity, tokens, interval), "/capacity")
            }
            Algorithm::SlidingWindow => {
                foreign(self.capacity.is_some(), "capacity")?;
                foreign(self.refill_tokens.is_some(), "refill_tokens")?;
                foreign(self.refill_interval_ms.is_some(), "refill_interval_ms")?;
                let limit = self.limit.ok_or_else(|| missing("limit"))?;
                let window = self.window_ms.ok_or_else(|| missing("window_ms"))?;
                (Rule::sliding_window(limit, window), "/limit")
            }
        };
        rule.map_err(|invalid| Problem::invalid(&invalid, pointer))
    }
}

impl Operation for CheckRequest {
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
                // The shorter of two windows forgets what the longer one still counts.
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

impl Command for Check {
    type Operation = CheckRequest;
    type Output = Decision;

    async fn prepare(self, _: &Store, _: &Context) -> Result<CheckRequest, Problem> {
        let rule = self.rule()?;
        let Check { key, cost, on_deny, .. } = self;
        if cost == 0 {
            let invalid = Invalid::new("validation_failed", "A cost is at least 1.");
            return Err(Problem::invalid(&invalid, "/cost"));
        }
        if cost > rule.limit() {
            let members = [("cost", cost.into()), ("limit", rule.limit().into())];
            return Err(Problem::refused(codes::COST_EXCEEDS_LIMIT, members));
        }
        Ok(CheckRequest { key, cost, rule, on_deny })
    }

    fn answer(
        CheckRequest { rule, on_deny, .. }: &CheckRequest,
        result: Result<Completed<Decision>, store::Error>,
    ) -> api::Result<Decision> {
        let policy = text(format!("\"default\";q={};w={}", rule.limit(), rule.window_seconds()));
        let denied = match result {
            Ok(done) => {
                let state = state(done.reply.remaining, done.reply.reset_after_ms);
                return Ok(Answer::ok(done).with_header(POLICY, policy).with_header(STATE, state));
            }
            Err(store::Error::Refused(denied)) => denied,
            Err(error) => return Err(error.into()),
        };
        let members = &denied.reply.members;
        let number = |name: &str| members.get(name).and_then(Value::as_u64).unwrap_or_default();
        let state = state(number("remaining"), number("reset_after_ms"));
        if *on_deny == OnDeny::Ok
            && let Ok(reply) = serde_json::from_value(Value::Object(members.clone()))
        {
            let answer = Answer::ok(Completed { reply, replayed: denied.replayed });
            return Ok(answer.with_header(POLICY, policy).with_header(STATE, state));
        }
        let problem = Problem::from(store::Error::Refused(denied));
        Err(problem.with_header(POLICY, policy).with_header(STATE, state))
    }
}

/// Check a limit, and take from it
///
/// All of `cost` is taken or nothing; a denied check writes nothing and costs nothing. The headers
/// RateLimit-Policy and RateLimit say the same to gateways and clients.
#[utoipa::path(
    post,
    path = "/ratelimit",
    operation_id = CheckRequest::NAME,
    tag = "ratelimit",
    request_body = Check,
    responses((status = OK, body = Decision, description = "It is allowed; or denied, where `on_deny` is 200.")),
    extensions(("x-refusals" = json!(["cost_exceeds_limit"]))),
)]
pub async fn check(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Check>,
) -> api::Result<Decision> {
    request.run(&store, &context).await
}

/// The state of a limit as draft 10 of the RateLimit header fields writes it.
fn state(remaining: u64, reset_after_ms: u64) -> HeaderValue {
    text(format!("\"default\";r={remaining};t={}", reset_after_ms.div_ceil(1000)))
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}
