use crate::types::Code;

/// Why stock says no.
pub const CODES: &[Code] = &[
    Code {
        code: "product_exists",
        status: 409,
        title: "Product exists",
        detail_template: "There is a product {product_id} already.",
        explanation: "A product of this id has been added to this space before. It was not changed.",
        retryable: false,
    },
    Code {
        code: "product_not_found",
        status: 404,
        title: "No such product",
        detail_template: "There is no product {product_id}.",
        explanation: "The space has no product of this id. Add it with POST /inventory/products.",
        retryable: false,
    },
    Code {
        code: "quantity_stale",
        status: 412,
        title: "Stock has changed",
        detail_template: "{on_hand} units of {product_id} are on hand, not {expected_on_hand}.",
        explanation: "The change was made for another number on hand than there is. Look again, and \
                      decide anew.",
        retryable: false,
    },
    Code {
        code: "stock_below_reserved",
        status: 409,
        title: "Units are reserved",
        detail_template: "{on_hand} units of {product_id} are on hand and {reserved} are reserved: {delta} is too much.",
        explanation: "Reserved units are promised to somebody. Nothing was changed.",
        retryable: false,
    },
    Code {
        code: "stock_out_of_range",
        status: 422,
        title: "Too many units",
        detail_template: "{on_hand} units of {product_id} are on hand and {delta} come: the most is {max_on_hand}.",
        explanation: "A product has at most 10^12 units on hand.",
        retryable: false,
    },
    Code {
        code: "insufficient_stock",
        status: 409,
        title: "Not enough units",
        detail_template: "{shortages/0/available} units of {shortages/0/product_id} are available, and {shortages/0/requested} are requested.",
        explanation: "`shortages` lists every product that is short, with what was requested and what \
                      is available. Nothing was reserved of the others either.",
        retryable: false,
    },
    Code {
        code: "reservation_not_found",
        status: 404,
        title: "No such reservation",
        detail_template: "There is no reservation {reservation_id}.",
        explanation: "The space has no reservation of this id, or it ended more than 7 days ago.",
        retryable: false,
    },
    Code {
        code: "reservation_expired",
        status: 409,
        title: "Reservation has expired",
        detail_template: "The reservation {reservation_id} expired at {expired_at}.",
        explanation: "Its time was up, by the clock of Redis, and the units that it still held are available \
                      again. POST /inventory/reserve sets units aside anew.",
        retryable: false,
    },
    Code {
        code: "reservation_closed",
        status: 409,
        title: "Reservation has ended",
        detail_template: "The reservation {reservation_id} is {reservation_status} already.",
        explanation: "A reservation ends once: confirmed, cancelled, or by its time. `reservation_status` says how.",
        retryable: false,
    },
    Code {
        code: "confirm_exceeds_reserved",
        status: 422,
        title: "More than is reserved",
        detail_template: "The reservation {reservation_id} holds {held} units of {product_id}, and {requested} are to be confirmed.",
        explanation: "What is confirmed of a product adds up to what was reserved of it at most. Nothing was sold.",
        retryable: false,
    },
    Code {
        code: "extension_limit",
        status: 409,
        title: "Extended far enough",
        detail_template: "The reservation {reservation_id} has been extended {extensions} times: at most {max_extensions} times, and {max_total_ms} ms in all.",
        explanation: "A reservation is extended 10 times at most, and holds units for 24 hours in all if it is \
                      extended. It goes on to its end as it is.",
        retryable: false,
    },
    Code {
        code: "customer_limit_exceeded",
        status: 409,
        title: "More than one customer may have",
        detail_template: "{customer_id} has {used} units of {product_id} and asks for {requested} more: {max_per_customer} is the most.",
        explanation: "The product has a `max_per_customer`. What counts is what the customer has reserved now, \
                      and what was confirmed since there is a limit. Nothing was reserved.",
        retryable: false,
    },
];
