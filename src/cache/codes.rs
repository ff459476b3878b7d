//! Problem codes of the cache, for the calls under `/cache`.

use crate::types::code_table;

code_table! {
    CACHE_MISS "cache_miss" 404 final "Not in the cache"
        "The cache has no value for the key {key}."
        "There is no value under this key, or it has ended or was invalidated. `POST /cache/get` gives one caller the lease to fill it."
    CACHE_LEASE_LOST "cache_lease_lost" 409 final "Lease to fill was lost"
        "The lease to fill {key} has ended: the entry was invalidated or filled since, or it took too long."
        "What the caller computed may be older than what has happened since, so it was not stored. Use it for this one request if that may be, and get the key again."
    VERSION_STALE "version_stale" 409 final "Newer version in the cache"
        "The entry {key} has version {current_version}, and the call brings version {given_version}."
        "Only a greater version takes the place of one that a writer has given. Nothing was changed; the newer value stays."
}
