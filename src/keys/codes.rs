//! Problem codes of callers' keys, for the calls under `/keys`.

use crate::types::code_table;

code_table! {
    KEY_NOT_FOUND "key_not_found" 404 final "No such key"
        "There is no key {key_id}."
        "No key has this id, or it was revoked more than 90 days ago. Nothing was done."
    KEY_REVOKED "key_revoked" 409 final "Key revoked"
        "The key {key_id} is revoked, and stays so."
        "A revoked key cannot be changed or rotated: make another one. Nothing was done."
    TOO_MANY_KEYS "too_many_keys" 409 final "Too many keys"
        "There are {most} keys, and no more can be made."
        "Every process keeps all keys in memory, so their number has a limit. Revoke those that nobody uses. Nothing was done."
}
