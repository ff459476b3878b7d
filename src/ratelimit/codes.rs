//! Problem codes of the rate limits, for the calls under `/ratelimit`.

use crate::types::code_table;

code_table! {
    RATE_LIMITED "rate_limited" 429 retryable "Limit reached"
        "{remaining} of {limit} are left for {key}, and {cost} would be taken: there is room in {retry_after_ms} ms."
        "The limit has no room now, and nothing was taken from it. Waiting `retry_after_ms` is enough; a millisecond less is not."
    COST_EXCEEDS_LIMIT "cost_exceeds_limit" 422 final "Cost above the limit"
        "A cost of {cost} can never fit into a limit of {limit}."
        "The cost is higher than the limit can ever allow at once, so waiting would not help. Nothing was taken."
    POLICY_NOT_FOUND "policy_not_found" 404 final "No such policy"
        "There is no policy {policy}."
        "The space has no policy of this name, or it was deleted. Nothing was taken."
    ALGORITHM_MISMATCH "algorithm_mismatch" 422 final "Another algorithm"
        "A limit with the algorithm {algorithm} has no such call."
        "A refund needs a limit that counts units, and a release one that has leases."
    LEASE_NOT_FOUND "lease_not_found" 404 final "No such lease"
        "There is no lease {lease_id} of {key}: it has ended, or was given back."
        "The concurrency limit has no lease of this id now. Its units are free."
}
