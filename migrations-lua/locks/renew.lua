--[[
Renews a lease, counted from now.

KEYS
  lock_key         record  lock

ARGV
  lock_name        id
  lease_id         id
  ttl_ms           how long the lease lasts from now

REPLY
  ok               lease_id lock owner:json mode fencing_token expires_at expires_in_ms metadata:json
  lease_expired    lock lease_id expired_at:instant
  lease_not_owner  lock lease_id
]]
--- @include "lib/lock"

local lock = open_lock(lock_key)
local refusal = check_lease(lock, lock_name, lease_id)
if refusal then
  return refusal
end

lock.expires_at = now + ttl_ms
mark_dirty(lock_key, encode_lock)

return { 'ok', lease_fields(lock_name, lock) }
