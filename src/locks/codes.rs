//! Problem codes of the locks, for the calls under `/locks`.

use crate::types::code_table;

code_table! {
    LOCK_HELD "lock_held" 409 retryable "Lock is held"
        "The lock {lock} is held by {holders/0/owner} for another {holders/0/expires_in_ms} ms at most."
        "Another lease holds the lock; `holders` says whose it is, and `expires_in_ms` for how long at most. Nothing was acquired. A new attempt needs a new Idempotency-Key."
    LEASE_EXPIRED "lease_expired" 410 final "Lease has expired"
        "The lease on {lock} was over at {expired_at}."
        "The lease has expired, so another holder may have worked since. Stop, acquire the lock again, and check what you were doing."
    LEASE_NOT_OWNER "lease_not_owner" 403 final "Not your lease"
        "The lease {lease_id} does not hold the lock {lock}."
        "Only the lease that holds a lock can renew or release it. This lease never held it, was released, or expired and the lock has a new holder."
}
