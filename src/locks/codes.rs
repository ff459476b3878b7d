//! Problem codes of the locks, for the calls under `/locks`.

use crate::types::code_table;

code_table! {
    LOCK_HELD "lock_held" 409 retryable "Lock is held"
        "The lock {lock} is not free: {holder_count} hold it, and {queue_length} wait for it."
        "The lock cannot be acquired now. `holders` says who has it and for how long at most; those in `queue_length` wait for it and come first. Nothing was acquired. A new attempt needs a new Idempotency-Key; with `wait_ms` the call waits in the queue."
    LOCK_WAIT_TIMEOUT "lock_wait_timeout" 409 retryable "Lock not acquired in time"
        "The lock {lock} was not free for this call within {waited_ms} ms."
        "The call has waited as long as it was to, and has left the queue. `queue_position` says how far it had come, and `holders` who has the lock. Nothing was acquired. A new attempt needs a new Idempotency-Key."
    PERMITS_MISMATCH "permits_mismatch" 422 final "Another number of permits"
        "The lock {lock} has {required} permits while it is held, and the call counts with {permits}."
        "All who hold permits of a lock count with the same number of them. Nothing was acquired."
    LEASE_EXPIRED "lease_expired" 410 final "Lease has expired"
        "The lease on {lock} was over at {expired_at}."
        "The lease has ended, by its time or because an operator broke it, so another holder may have worked since. Stop, acquire the lock again, and check what you were doing."
    LEASE_NOT_OWNER "lease_not_owner" 403 final "Not your lease"
        "The lease {lease_id} does not hold the lock {lock}."
        "Only the lease that holds a lock can renew or release it. This lease never held it, or was released."
    LEASE_LOCKS_MISMATCH "lease_locks_mismatch" 422 final "Not all locks of the lease"
        "The lease {lease_id} is over {required} locks, and the call names {given}."
        "A lease over several locks is renewed and released as a whole: name the same `locks` as when it was acquired. Nothing was changed."
}
