//! Optimistic transactions over plain data keys: watch, read, judge, and run all or nothing.

mod guard;
mod run;
mod types_of_keys;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{store::Store, types::Code};

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(run::run))
}

/// Why a transaction says no.
pub const CODES: &[Code] = &[
    Code {
        code: "transaction_conflict",
        status: 409,
        title: "Others were faster",
        says: "In each of {attempts} attempts somebody changed a watched key. Nothing was done.",
        explanation: "A key of the transaction was changed between reading and EXEC, as often as it was tried. \
                      Nothing was done; try again, with more `max_attempts` where many contend, or use a command \
                      of this service, which needs no second attempt.",
        retryable: true,
    },
    Code {
        code: "guard_failed",
        status: 409,
        title: "Guard failed",
        says: "The key {key} holds {actual}, and the guard asks for {op} {expected}.",
        explanation: "What a guard asks for is not so. Nothing was done. A comparison of numbers also fails where \
                      the key holds none.",
        retryable: false,
    },
];
