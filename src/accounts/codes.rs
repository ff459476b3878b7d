use crate::types::Code;

/// Why an account says no.
pub const CODES: &[Code] = &[
    Code {
        code: "account_exists",
        status: 409,
        title: "Account exists",
        detail_template: "There is an account {account_id} already.",
        explanation: "An account of this id has been opened in this space before. It was not changed.",
        retryable: false,
    },
    Code {
        code: "account_not_found",
        status: 404,
        title: "No such account",
        detail_template: "There is no account {account_id} ({role}).",
        explanation: "The space has no account of this id; `role` is the field that names it. Open it \
                      with POST /accounts.",
        retryable: false,
    },
    Code {
        code: "same_account",
        status: 422,
        title: "One account twice",
        detail_template: "The money would go from {account_id} to {account_id}.",
        explanation: "A transfer takes two different accounts.",
        retryable: false,
    },
    Code {
        code: "currency_mismatch",
        status: 422,
        title: "Two currencies",
        detail_template: "One account is in {from_currency}, the other in {to_currency}.",
        explanation: "Both sides of a transfer are in one currency. Nothing is ever exchanged.",
        retryable: false,
    },
    Code {
        code: "insufficient_funds",
        status: 409,
        title: "Not enough money",
        detail_template: "The account {account_id} has {available} {currency} available, and {required} is required.",
        explanation: "`available` is the balance without what is held, and with the overdraft limit. \
                      Nothing was moved.",
        retryable: false,
    },
    Code {
        code: "max_balance_exceeded",
        status: 409,
        title: "Too much money",
        detail_template: "The account {account_id} has {balance} {currency} and may have {max_balance}: {amount} more is too much.",
        explanation: "The account that receives has a `max_balance`. Nothing was moved.",
        retryable: false,
    },
    Code {
        code: "account_frozen",
        status: 409,
        title: "Account is frozen",
        detail_template: "The account {account_id} ({role}) is frozen for {direction}.",
        explanation: "POST /accounts/freeze has stopped money from leaving the account (`debits`) or from coming \
                      in (`credits`). Nothing was moved; POST /accounts/unfreeze lets it move again.",
        retryable: false,
    },
    Code {
        code: "account_closed",
        status: 409,
        title: "Account is closed",
        detail_template: "The account {account_id} ({role}) is closed.",
        explanation: "A closed account can be read and neither moved nor changed. It is not opened again, and \
                      its id is not given again.",
        retryable: false,
    },
    Code {
        code: "account_not_empty",
        status: 409,
        title: "Account is not empty",
        detail_template: "The account {account_id} has a balance of {balance} {currency}, and {held} of it is held.",
        explanation: "An account is closed with a balance of zero and no open hold. `sweep_to` moves what is \
                      above zero to another account; holds are captured or released first.",
        retryable: false,
    },
    Code {
        code: "limit_below_usage",
        status: 409,
        title: "Limit below what is in use",
        detail_template: "The {field} of {account_id} cannot be {requested} {currency}: {in_use} is in use.",
        explanation: "A limit cannot be lowered below what is in use: an overdraft limit below what is overdrawn \
                      or held beyond the balance, a maximum below the balance. Nothing was changed.",
        retryable: false,
    },
    Code {
        code: "hold_not_found",
        status: 404,
        title: "No such hold",
        detail_template: "There is no hold {hold_id}.",
        explanation: "The space has no hold of this id, or it ended more than 7 days ago.",
        retryable: false,
    },
    Code {
        code: "hold_expired",
        status: 409,
        title: "Hold has expired",
        detail_template: "The hold {hold_id} expired at {expired_at}.",
        explanation: "Its time was up, by the clock of Redis, and the money that it still held is free again. \
                      POST /accounts/hold sets money aside anew.",
        retryable: false,
    },
    Code {
        code: "hold_closed",
        status: 409,
        title: "Hold has ended",
        detail_template: "The hold {hold_id} is {hold_status} already.",
        explanation: "A hold ends once: by its final capture, by its release, or by its time. `hold_status` says how.",
        retryable: false,
    },
    Code {
        code: "capture_exceeds_hold",
        status: 422,
        title: "More than is held",
        detail_template: "Of the hold {hold_id}, {remaining} {currency} remains, and {requested} is asked for.",
        explanation: "Captures of one hold add up to its amount at most. Nothing was moved.",
        retryable: false,
    },
    Code {
        code: "transaction_not_found",
        status: 404,
        title: "No such transaction",
        detail_template: "There is no transaction {transaction_id}.",
        explanation: "The space has no transaction of this id, or it is older than the service keeps them \
                      (--transaction-ttl-ms, 90 days where nothing is said).",
        retryable: false,
    },
    Code {
        code: "reversal_exceeds_transaction",
        status: 422,
        title: "More than can be reversed",
        detail_template: "Of the {kind} {transaction_id}, {remaining} {currency} can be reversed, not {requested}.",
        explanation: "Reversals of one transaction add up to its amount at most, and a reversal is not reversed \
                      itself. Nothing was moved.",
        retryable: false,
    },
];
