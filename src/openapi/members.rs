//! The members that problems have beside those of RFC 9457: their types, and an example of each.
//! [`super::problems`] writes the schema and the example of every code with them.

use serde_json::{Value, json};

use Kind::{Boolean, Ids, Named, Number, NumberOrNull, Objects, Text, TextOrNull};

/// A member of problems.
pub(super) struct ProblemMember {
    name: &'static str,
    /// The code whose member this is; `None` for every code that has no row of its own.
    code: Option<&'static str>,
    kind: Kind,
    /// A value as JSON. The example of a code has it, in its `detail` too.
    example: &'static str,
    description: &'static str,
}

/// The type of a member.
enum Kind {
    Text,
    TextOrNull,
    Number,
    NumberOrNull,
    Boolean,
    /// A list of ids.
    Ids,
    /// A schema of the document.
    Named(&'static str),
    /// A list of objects with these members.
    Objects(&'static [ProblemMember]),
}

const fn row(
    name: &'static str,
    kind: Kind,
    example: &'static str,
    description: &'static str,
) -> ProblemMember {
    ProblemMember { name, code: None, kind, example, description }
}

const fn row_of(
    code: &'static str,
    name: &'static str,
    kind: Kind,
    example: &'static str,
    description: &'static str,
) -> ProblemMember {
    ProblemMember { name, code: Some(code), kind, example, description }
}

/// All members. One of a code stands before the one of the same name that all other codes have.
const MEMBERS: &[ProblemMember] = &[
    row("account_id", Named("Id"), r#""alice""#, "Account that the problem is about."),
    row("role", Text, r#""from_account""#, "Field that names the account."),
    row("currency", Named("Currency"), r#""USD""#, "Currency of the amounts."),
    row("from_currency", Named("Currency"), r#""USD""#, "Currency of the paying account."),
    row("to_currency", Named("Currency"), r#""EUR""#, "Currency of the receiving account."),
    row("scale", Number, "2", "Decimals of the currency."),
    row("from_scale", Number, "2", "Decimals of the account that pays."),
    row("to_scale", Number, "3", "Decimals of the account that receives."),
    row("total", Number, "999999999999999", "The total before the call."),
    row("max_total", Number, "999999999999999", "The most that a total can be."),
    row("field", Text, r#""amount""#, "Field of the body that has the value."),
    row("available", Named("Money"), r#""4.00""#, "Amount that the account can spend."),
    row_of("permits_mismatch", "required", Number, "5", "Permits of the lock."),
    row_of("lease_locks_mismatch", "required", Number, "2", "Locks that the lease is over."),
    row_of("not_durable", "required", Number, "1", "Replicas that are to have it."),
    row("replicas", Number, "0", "Replicas that have it, where that is known."),
    row_of(
        "insufficient_scope",
        "required",
        Text,
        r#""accounts:write""#,
        "Scope that would allow the call.",
    ),
    row("required", Named("Money"), r#""10.00""#, "Amount that the call needs."),
    row("balance", Named("Money"), r#""950.00""#, "Balance of the account."),
    row("max_balance", Named("Money"), r#""1000.00""#, "Largest balance of the account."),
    row("amount", Named("Money"), r#""100.00""#, "Amount that would have arrived."),
    row("direction", Named("FreezeDirection"), r#""debits""#, "Direction that is frozen."),
    row_of(
        "confirm_exceeds_reserved",
        "held",
        Number,
        "2",
        "Units that the reservation still holds of the product.",
    ),
    row("held", Named("Money"), r#""25.00""#, "Amount that open holds have set aside."),
    row("in_use", Named("Money"), r#""30.00""#, "Amount that is in use."),
    row("hold_id", Text, r#""hold_0199f6c28f7a7c319d4e52a1b7f0c6aa""#, "Id of the hold."),
    row("hold_status", Named("HoldStatus"), r#""captured""#, "State of the hold."),
    row(
        "transaction_id",
        Text,
        r#""tx_0199f6c28f7a7c319d4e52a1b7f0c6aa""#,
        "Id of the transaction.",
    ),
    row_of("script_error", "kind", Text, r#""index_nil""#, "Kind of the error."),
    row("line", NumberOrNull, "3", "Line of the source; null where none is known."),
    row("source_line", TextOrNull, r#""return x.y""#, "The line as it was given."),
    row("message", Text, r#""attempt to index local 'x' (a nil value)""#, "Message of the error."),
    row("effects", Text, r#""none""#, "`none` if the script had written nothing, or `unknown`."),
    row("killed", Boolean, "true", "True if the script was ended."),
    row("timeout_ms", Number, "1000", "Milliseconds that the script had."),
    row("name", Named("Id"), r#""add-capped""#, "Name of the script."),
    row(
        "diagnostics",
        Objects(DIAGNOSTIC),
        r#"[{ "line": 1, "severity": "error", "rule": "syntax", "message": "unexpected symbol near '='" }]"#,
        "Places at which the source does not compile.",
    ),
    row_of("trace_unavailable", "reason", Text, r#""NOPERM""#, "Reason that the server gave."),
    row_of("key_not_allowed", "command", Text, r#""GET""#, "Command that the script ran."),
    row_of("key_not_allowed", "key", Text, r#""total""#, "Whole name of the key."),
    row("kind", Named("TransactionKind"), r#""transfer""#, "Kind of the transaction."),
    row_of("rate_limited", "remaining", Number, "0", "Units that are left of the limit."),
    row("remaining", Named("Money"), r#""5.00""#, "Amount that is left."),
    row("expired_at", Named("Timestamp"), r#""2026-01-31T12:00:00.000Z""#, "Moment of the end."),
    row("product_id", Named("Id"), r#""espresso-cup""#, "Id of the product."),
    row("customer_id", Named("Id"), r#""carol""#, "Id of the customer."),
    row(
        "reservation_id",
        Text,
        r#""res_0199f6c28f7a7c319d4e52a1b7f0c6aa""#,
        "Id of the reservation.",
    ),
    row(
        "reservation_status",
        Named("ReservationStatus"),
        r#""confirmed""#,
        "State of the reservation.",
    ),
    row(
        "shortages",
        Objects(SHORTAGE),
        r#"[{ "product_id": "espresso-cup", "requested": 3, "available": 1 }]"#,
        "Products of which too few units are available.",
    ),
    row_of("capture_exceeds_hold", "requested", Named("Money"), r#""9.00""#, "Amount asked for."),
    row_of("limit_below_usage", "requested", Named("Money"), r#""10.00""#, "Limit asked for."),
    row_of(
        "reversal_exceeds_transaction",
        "requested",
        Named("Money"),
        r#""9.00""#,
        "Amount asked for.",
    ),
    row("requested", Number, "3", "Units asked for."),
    row("used", Number, "2", "Units that the customer has of the product already."),
    row("max_per_customer", Number, "4", "Most units of the product that a customer may have."),
    row("on_hand", Number, "10", "Units on hand."),
    row("expected_on_hand", Number, "12", "Units that the caller expected on hand."),
    row("max_on_hand", Number, "1000000000000", "Most units of a product."),
    row(
        "figure",
        Text,
        r#""sold""#,
        "Total that would be too large: `sold`, or a reason of adjustments.",
    ),
    row("reserved", Number, "8", "Units that reservations hold."),
    row("delta", Number, "-5", "Change that was asked for."),
    row("extensions", Number, "10", "Extensions that the reservation has had."),
    row("max_extensions", Number, "10", "Most extensions of a reservation."),
    row("max_total_ms", Number, "86400000", "Longest time of a reservation, in milliseconds."),
    row("lock", Named("Id"), r#""nightly-report""#, "Name of the lock."),
    row("lease_id", Text, r#""lease_0199f6c28f7a7c319d4e52a1b7f0c6aa""#, "Id of the lease."),
    row(
        "holders",
        Objects(HOLDER),
        r#"[{ "owner": "worker-7", "mode": "exclusive", "expires_in_ms": 12000 }]"#,
        "Those who hold the lock.",
    ),
    row(
        "locks",
        Ids,
        r#"["ledger", "nightly-report"]"#,
        "Locks that the call names, where it has `locks`.",
    ),
    row("holder_count", Number, "1", "Number of leases that hold the lock."),
    row("queue_length", Number, "2", "Calls that wait for the lock."),
    row(
        "queue_position",
        NumberOrNull,
        "1",
        "Place that the call had in the queue, counted from 1.",
    ),
    row("waited_ms", Number, "10000", "Time in milliseconds for which the call waited."),
    row("fencing_token", Number, "1769860800000000", "Fencing token that the call names."),
    row(
        "last_fencing_token",
        NumberOrNull,
        "1769860818000000",
        "Newest fencing token of the lock; null if it was not held for an hour.",
    ),
    row(
        "reason",
        TextOrNull,
        r#""it hangs""#,
        "Reason of the operator who broke the lock, if one did.",
    ),
    row("given", Number, "1", "Locks that the call names."),
    row("permits", Number, "3", "Permits that the call counts with."),
    row(
        "retry_after_ms",
        Number,
        "12000",
        "Time in milliseconds after which a repeat can succeed.",
    ),
    row("reset_after_ms", Number, "60000", "Time in milliseconds after which the limit is whole."),
    row("allowed", Boolean, "false", "Always false here: the check was denied."),
    row("limit", Number, "5", "Whole limit."),
    row("cost", Number, "7", "Units asked for."),
    row(
        "window_ms",
        Number,
        "60000",
        "Time in milliseconds after which a limit that was used up is whole.",
    ),
    row(
        "policy",
        TextOrNull,
        r#""api""#,
        "Policy whose rule was checked; null for a rule of the call's own.",
    ),
    row(
        "decided_by",
        Named("DecidedBy"),
        r#""local""#,
        "What denied in place of the store; missing where the store has denied.",
    ),
    row("algorithm", Text, r#""token_bucket""#, "Algorithm of the limit."),
    row(
        "violations",
        Objects(VIOLATION),
        r#"[{
            "index": 1, "key": "user-12", "policy": null, "cost": 7, "limit": 5, "remaining": 0,
            "retry_after_ms": 12000, "reset_after_ms": 60000, "window_ms": 60000
        }]"#,
        "Limits that have no room, in the order of the checks.",
    ),
    row("counter", Named("Id"), r#""downloads""#, "Name of the counter."),
    row("value", Number, "99", "Value of the counter."),
    row("min", Number, "0", "Least value that the call allows."),
    row("max", Number, "100", "Greatest value that the call allows."),
    row_of("guard_failed", "expected", TextOrNull, r#""10""#, "Value of the guard, if it has one."),
    row_of("value_mismatch", "expected", Number, "41", "Value that the caller expected."),
    row("expected", Text, r#""6""#, "Versions that `If-Match` asks for."),
    row("version", Number, "7", "Version of the resource."),
    row_of("cache_miss", "key", Text, r#""account:alice:summary""#, "Key of the entry."),
    row_of("cache_lease_lost", "key", Text, r#""account:alice:summary""#, "Key of the entry."),
    row_of("version_stale", "key", Text, r#""account:alice:summary""#, "Key of the entry."),
    row("current_version", Number, "7", "Version that the entry has."),
    row("given_version", Number, "6", "Version that the call brings."),
    row_of("lease_not_found", "key", Text, r#""tenant-7""#, "Name of what is limited."),
    row_of("rate_limited", "key", Text, r#""tenant-7""#, "Name of what is limited."),
    row("key", Named("Id"), r#""balance""#, "Data key that the problem is about."),
    row("op", Named("Op"), r#""gte""#, "Comparison that does not hold."),
    row_of(
        "guard_failed",
        "actual",
        TextOrNull,
        r#""4""#,
        "String that the key holds, the type of another value, or null where there is no key.",
    ),
    row("actual", Text, r#""list""#, "Type of the value that the key holds."),
    row("needed", Text, r#""string""#, "Type of the value that the command needs."),
    row("attempts", Number, "3", "Attempts that were made."),
    row_of("too_many_keys", "most", Number, "10000", "Most keys that there can be."),
    row("most", Number, "4194304", "Most bytes that are read."),
    row("command", Text, r#""flushall""#, "Type that the caller gave."),
    row("key_id", Text, r#""4fTzPq81LmXw""#, "Id of the key."),
    row("space", Text, r#""main""#, "Space that the call is about, or `*` for all."),
    row("host", Text, r#""pay.example""#, "Host that the request names."),
    row("origin", Text, r#""https://pay.example""#, "Page that made the request."),
    row_of(
        "too_many_failures",
        "retry_after_ms",
        Number,
        "12000",
        "Time in milliseconds after which the address may fail again.",
    ),
    row("header", Text, r#""Lockstep-Space""#, "Header that has the id."),
    row("parameter", Text, r#""account_id""#, "Parameter of the path that has the id."),
    row("errors", Objects(ERROR), ERRORS_EXAMPLE, "Values of the body that were refused."),
    row("operation_index", Number, "1", "Operation of several that was refused, counted from 0."),
    row("operation", Text, r#""accounts/transfer""#, "Name of that operation."),
];

const ERRORS_EXAMPLE: &str =
    r#"[{ "pointer": "/ttl_ms", "detail": "A duration is 1 to 2592000000 milliseconds." }]"#;

const ERROR: &[ProblemMember] = &[
    row(
        "pointer",
        Text,
        r#""/ttl_ms""#,
        "JSON Pointer (RFC 6901) to the value; empty for the body.",
    ),
    row("detail", Text, r#""A duration is a whole number.""#, "What is wrong with the value."),
];

const HOLDER: &[ProblemMember] = &[
    row("owner", Text, r#""worker-7""#, "Name of the holder."),
    row("mode", Named("Mode"), r#""exclusive""#, "Mode of its lease."),
    row("expires_in_ms", Number, "12000", "Remaining time of its lease in milliseconds."),
];

const VIOLATION: &[ProblemMember] = &[
    row("index", Number, "1", "Place of the check in the call, counted from 0."),
    row("key", Text, r#""user-12""#, "Name of what is limited."),
    row(
        "policy",
        TextOrNull,
        "null",
        "Policy whose rule was checked; null for a rule of the call's own.",
    ),
    row("cost", Number, "7", "Units asked for."),
    row("limit", Number, "5", "Whole limit."),
    row("remaining", Number, "0", "Units that are left of the limit."),
    row("retry_after_ms", Number, "12000", "Time in milliseconds after which there is room."),
    row("reset_after_ms", Number, "60000", "Time in milliseconds after which the limit is whole."),
    row(
        "window_ms",
        Number,
        "60000",
        "Time in milliseconds after which a limit that was used up is whole.",
    ),
];

const DIAGNOSTIC: &[ProblemMember] = &[
    row("line", Number, "1", "Line of the source."),
    row("severity", Text, r#""error""#, "Weight of the diagnostic."),
    row("rule", Text, r#""syntax""#, "Rule that the place breaks."),
    row(
        "message",
        Text,
        r#""unexpected symbol near '='""#,
        "What is wrong, in a sentence without its end.",
    ),
];

const SHORTAGE: &[ProblemMember] = &[
    row("product_id", Named("Id"), r#""espresso-cup""#, "Id of the product."),
    row("requested", Number, "3", "Units asked for."),
    row("available", Number, "1", "Units that are available."),
];

/// The row of a member of a code; `None` for a member that the table does not have.
pub(super) fn member(code: &str, name: &str) -> Option<&'static ProblemMember> {
    let rows = || MEMBERS.iter().filter(|row| row.name == name);
    rows().find(|row| row.code == Some(code)).or_else(|| rows().find(|row| row.code.is_none()))
}

impl ProblemMember {
    /// The value that examples have.
    pub(super) fn example(&self) -> Value {
        serde_json::from_str(self.example).unwrap_or_default()
    }

    /// The schema of the value.
    pub(super) fn schema(&self) -> Value {
        let mut schema = match &self.kind {
            Text => json!({ "type": "string" }),
            TextOrNull => json!({ "type": ["string", "null"] }),
            Number => json!({ "type": "integer", "format": "int64" }),
            NumberOrNull => json!({ "type": ["integer", "null"], "format": "int64" }),
            Ids => json!({ "type": "array", "items": { "$ref": "#/components/schemas/Id" } }),
            Boolean => json!({ "type": "boolean" }),
            Named(name) => json!({ "$ref": format!("#/components/schemas/{name}") }),
            Objects(members) => {
                let names: Vec<&str> = members.iter().map(|member| member.name).collect();
                let properties =
                    members.iter().map(|member| (member.name.to_owned(), member.schema()));
                json!({ "type": "array", "items": {
                    "type": "object",
                    "required": names,
                    "properties": Value::Object(properties.collect()),
                } })
            }
        };
        schema["description"] = self.description.into();
        schema
    }
}
