mod check;
mod check_all;
mod delete_policy;
mod get_policy;
mod list_policies;
mod model;
mod peek;
mod put_policy;
mod refund;
mod release;
mod reset;
mod rls;

use serde_json::{Value, json};

use crate::support::{Answer, Service};

/// A day in milliseconds, so that the duration of a test does not matter.
const DAY: u64 = 86_400_000;

/// A rule of each algorithm that admits `limit` units and gives none back for a day.
fn rules(limit: u64) -> [Value; 5] {
    [
        json!({ "capacity": limit, "refill_tokens": 1, "refill_interval_ms": DAY }),
        json!({ "algorithm": "sliding_window", "limit": limit, "window_ms": DAY }),
        json!({ "algorithm": "sliding_counter", "limit": limit, "window_ms": DAY }),
        json!({ "algorithm": "fixed_window", "limit": limit, "window_ms": 25 * DAY }),
        json!({ "algorithm": "concurrency", "limit": limit, "ttl_ms": DAY }),
    ]
}

/// Puts a policy and returns its answer.
async fn put(service: &Service, name: &str, rule: &Value) -> Answer {
    service.put(&format!("/ratelimit/policies/{name}"), rule.clone()).await
}

/// Checks the key `k` under a policy.
async fn check(service: &Service, policy: &str, cost: u64) -> Answer {
    service.post("/ratelimit", json!({ "policy": policy, "key": "k", "cost": cost })).await
}
