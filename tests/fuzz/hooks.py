"""What schemathesis has to know of this service."""

import itertools
import re

import schemathesis

BARE_OR_QUOTED = re.compile(r'([!#-~][!-~]{0,254}|"[!-~]{1,255}")\Z')
KEYS = itertools.count()

GUARD = re.compile(r"lock=[^;]+;token=[1-9][0-9]{0,15}\Z")

# Codes that say that a request is not what the document describes.
OF_FORM = {
    "invalid_amount",
    "invalid_id",
    "invalid_query",
    "malformed_json",
    "unknown_field",
    "unsupported_media_type",
    "validation_failed",
    "idempotency_key_invalid",
}

# Requests that fit the document and are refused all the same, each with the reason.
REFUSED = [
    (r"(This (algorithm|command)|[Tt]he mode permit) (has|has no|needs) ", "the type of a command, a rule or a lease decides which fields it has"),
    (r"This ttl_mode needs a ttl_ms", "so does the mode of a time to live"),
    (r"There are 1 to 1000 values", "the document does not give the number of entries of a map"),
    (r"This guard (needs a value|has no value|compares numbers)", "so does the comparison of a guard"),
    (r"Give (either|one of)|Name a lock, or several|either lines, or|A call that names a policy has no", "fields that exclude each other"),
    (r"Name at least one key or one tag", "fields of which one has to be there"),
    (r"Name the (policy|key) in the query", "a parameter that may be in a header in its place"),
    (r"A currency is a code of ISO 4217", "a list that is longer than a pattern"),
    (r"is a word of this service", "names that are part of a path"),
    (r"is that of a script of this service", "names of scripts that the service brings with it"),
    (r"by the minute go 6 hours back", "the grouping bounds the hours"),
    (r"A step is at least 1\.", "the value of a counter's batch, whose action decides"),
    (r"floating point `-?[0-9]+\.0`", "JSON Schema has 1.0 among the integers; a whole number is written without a point"),
    (r"is no base64", "the encoding decides what its values may be"),
    (r"A key is 1 to 256 bytes", "the document counts characters, and a key is measured in bytes"),
    (r"A fencing token is a whole number", "a pattern does not bound a number"),
    (r"capacity times refill_interval_ms|A value is refreshed at most ttl_ms|would take more than|of leases at the same time", "figures that bound each other"),
    (r"A (lock|tag) is named once", "the document does not say that names differ"),
    (r"not zero", "a number that may be negative or positive"),
]


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    """A stream is text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Every call has a key of its own: a key that is used again for another call is refused, as it should be."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and BARE_OR_QUOTED.match(key):
        case.headers["Idempotency-Key"] = f"call-{next(KEYS)}"


@schemathesis.check
def what_fits_the_document_is_understood(ctx, response, case):
    """No problem of form for a request that fits, but for the reasons that are listed."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    problem = response.json()
    if problem.get("code") not in OF_FORM:
        return
    # The program takes 0 for a value of this header's pattern where it adds one optional header after the other.
    guard = (case.headers or {}).get("Lockstep-Guard")
    if guard is not None and not GUARD.match(str(guard)):
        return
    if not any(re.search(pattern, problem["detail"]) for pattern, _ in REFUSED):
        raise AssertionError(f"{problem['code']}: {problem['detail']}")
