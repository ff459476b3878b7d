//! Problem codes of the counters, for the calls under `/counters`.

use crate::types::code_table;

code_table! {
    COUNTER_LIMIT_EXCEEDED "counter_limit_exceeded" 409 final "Limit of the counter"
        "The counter {counter} is at {value} and goes up to {max}."
        "The counter would rise above the `max` of this call. Neither its value nor its expiry was changed."
    COUNTER_BELOW_MINIMUM "counter_below_minimum" 409 final "Minimum of the counter"
        "The counter {counter} is at {value} and goes down to {min}."
        "The counter would fall below the `min` of this call, which is 0 by default. Neither its value nor its expiry was changed."
    VALUE_MISMATCH "value_mismatch" 412 final "Another value"
        "The counter {counter} is at {value}, and {expected} was expected."
        "The counter does not have the value in `if_value`. Nothing was changed; read it again before you decide."
}
