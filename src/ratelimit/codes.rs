//! Problem codes of the rate limits, for the calls under `/ratelimit`.

use crate::types::code_table;

code_table! {
    RATE_LIMITED "rate_limited" 429 retryable "Limit reached"
        "{remaining} of {limit} are left for {key}, and {cost} would be taken: there is room in {retry_after_ms} ms."
        "The limit has no room now, and nothing was taken from it. Waiting `retry_after_ms` is enough; a millisecond less is not."
    COST_EXCEEDS_LIMIT "cost_exceeds_limit" 422 final "Cost above the limit"
        "A cost of {cost} can never fit into a limit of {limit}."
        "The cost is higher than the limit can ever allow at once, so waiting would not help. Nothing was taken."
}
