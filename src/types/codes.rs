//! The problem codes that every call can give.

use super::Code;

macro_rules! codes {
    ($($name:ident $code:literal $status:literal $title:literal $detail_template:literal $explanation:literal)*) => {
        $(
            #[doc = $explanation]
            pub const $name: Code = Code {
                code: $code,
                status: $status,
                title: $title,
                detail_template: $detail_template,
                explanation: $explanation,
                // What the store cannot do now it may do in a moment; nothing else changes by itself.
                retryable: $status == 503,
            };
        )*

        /// All of them.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    MALFORMED_JSON "malformed_json" 400 "Not JSON"
        "The body is not JSON."
        "The body could not be parsed as JSON; `detail` says where parsing failed. Nothing was done."
    INVALID_QUERY "invalid_query" 400 "Bad query string"
        "The query string is not what this call takes."
        "A parameter in the query string is unknown, missing or of the wrong form. Nothing was done."
    UNKNOWN_FIELD "unknown_field" 422 "Unknown field"
        "The body has a field that this call does not take."
        "Unknown fields are refused, so that a typo never passes silently. The pointer names the field."
    VALIDATION_FAILED "validation_failed" 422 "Invalid value"
        "A value is not what this call takes."
        "The body is JSON, but a value is missing, of the wrong type or out of its range; `errors` points to it."
    INVALID_ID "invalid_id" 422 "Invalid id"
        "An id is 1 to 128 characters of A-Z a-z 0-9 . _ : @ - and starts with a letter or a digit."
        "An id has a character that ids cannot have, is empty, is too long, or is a word that the service keeps for itself."
    INVALID_AMOUNT "invalid_amount" 422 "Invalid amount"
        "An amount is a decimal string such as \"12.34\"."
        "An amount is a decimal string. JSON numbers are refused, because they lose digits."
    AMOUNT_NOT_POSITIVE "amount_not_positive" 422 "Amount not positive"
        "The amount must be above zero."
        "An amount that moves is above zero; a limit, a price or an initial balance is not below it."
    AMOUNT_SCALE_EXCEEDED "amount_scale_exceeded" 422 "Too many decimals"
        "The currency {currency} has {scale} decimals, and the amount has more."
        "The amount has more decimals than its currency. Nothing is ever rounded."
    AMOUNT_OUT_OF_RANGE "amount_out_of_range" 422 "Amount too large"
        "The amount, or a balance with it, would have more than 28 digits."
        "Amounts and balances are exact to 28 digits, decimals included, and have no more; what has come and gone of an account in its whole life has 36."
    QUANTITY_NOT_POSITIVE "quantity_not_positive" 422 "Quantity not positive"
        "A quantity is at least 1."
        "Units that move are a whole number above zero."
    COUNTER_OUT_OF_RANGE "counter_out_of_range" 422 "Counter out of range"
        "The counter {counter} is at {value} and would leave the range of -(2^53 - 1) to 2^53 - 1."
        "Counters stay where every client of JSON reads them exactly. Nothing was changed."
    ROUTE_NOT_FOUND "route_not_found" 404 "No such route"
        "There is nothing at this path; /docs lists what there is."
        "The path is none of this service."
    METHOD_NOT_ALLOWED "method_not_allowed" 405 "Wrong method"
        "This path takes another method; the header Allow names it."
        "Commands are POST, reads are GET."
    UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" 415 "Not application/json"
        "Send the body as application/json, with the header Content-Type."
        "Bodies are JSON and are announced as such."
    PAYLOAD_TOO_LARGE "payload_too_large" 413 "Body too large"
        "The body is larger than this service takes."
        "The limit is set by --body-limit-bytes."
    REQUEST_TIMEOUT "request_timeout" 408 "Body too slow"
        "The body did not arrive in time. Nothing was done."
        "The limit is set by --body-timeout-ms. Nothing had been sent to Redis."
    IDEMPOTENCY_KEY_INVALID "idempotency_key_invalid" 400 "Invalid Idempotency-Key"
        "An Idempotency-Key is 1 to 255 visible ASCII characters, bare or in double quotes, and given once."
        "The header Idempotency-Key cannot be used as it is. Nothing was done."
    IDEMPOTENCY_KEY_REUSED "idempotency_key_reused" 422 "Idempotency-Key used for another call"
        "This Idempotency-Key was sent before with another call. Use a new key for a new call."
        "A key stands for one call, with all its values. Nothing was done for this one."
    VERSION_MISMATCH "version_mismatch" 412 "Changed in between"
        "The version is {version}, and If-Match asks for {expected}."
        "The resource has changed since the ETag of If-Match was given. Nothing was done; read it again first."
    OVERLOADED "overloaded" 503 "Too many calls"
        "Too many calls are waiting. Nothing was sent; try again shortly."
        "The queue to Redis is full, or this call waited in it for too long. Nothing was sent to Redis."
    SHUTTING_DOWN "shutting_down" 503 "Shutting down"
        "This instance is shutting down. Nothing was done; another one will take the call."
        "The instance has been told to stop and finishes what it has begun. Nothing was sent to Redis."
    STORE_UNAVAILABLE "store_unavailable" 503 "No connection to the store"
        "Redis cannot be reached now. Nothing was done; try again shortly."
        "No connection to Redis can be made, or it refuses all commands. Nothing was done."
    STORE_BUSY "store_busy" 503 "The store is busy"
        "Redis is busy. Nothing was done; try again shortly."
        "A script of somebody else has kept Redis for seconds, or so much has piled up that it is worked off first. Nothing was done."
    STORE_LOADING "store_loading" 503 "The store is loading"
        "Redis is reading its data after a start. Nothing was done; try again shortly."
        "Redis has been restarted and is not ready yet. Nothing was done."
    STORE_READONLY "store_readonly" 503 "The store cannot be written"
        "Redis takes no writes now. Nothing was done; try again shortly."
        "Redis is a replica, or it cannot write to its disk. Nothing was done."
    STORE_OUT_OF_MEMORY "store_out_of_memory" 503 "The store is out of memory"
        "Redis is at its memory limit. Nothing was done."
        "Redis refuses writes above `maxmemory`. Nothing was done; it needs more memory or fewer keys."
    OUTCOME_UNKNOWN "outcome_unknown" 504 "Outcome unknown"
        "The call was sent to Redis and no answer came in time: it may have happened or not. Repeat it with the same Idempotency-Key to learn which."
        "A timeout is no failure. With an Idempotency-Key, a repeat answers what happened the first time, or lets it happen now; it never happens twice."
    INTERNAL_ERROR "internal_error" 500 "Internal error"
        "This is a fault of the service. The cause is in its log under the id of this request, and `outcome` says whether anything can have changed."
        "A fault of the service, or a key of its that somebody else has written to. The cause is in its log, under the request's id."
}

/// The code of that word, for a value that was refused.
pub fn of_value(word: &str) -> Code {
    CODES.iter().find(|code| code.code == word).copied().unwrap_or(VALIDATION_FAILED)
}
