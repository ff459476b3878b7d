--[[
Acquires a lock, if no lease holds it.

KEYS
  lock_key   record  lock

ARGV
  lock_name        id
  owner            JSON, a string
  ttl_ms           how long the lease lasts
  metadata         JSON, an object of strings
  lease_id         generated

REPLY
  ok               lease_id lock owner:json mode fencing_token expires_at expires_in_ms metadata:json
  lock_held        lock holders:json retry_after_ms
]]
--- @include "lib/lock"

local lock = open_lock(lock_key)
if is_held(lock) then
  return { 'lock_held', lock_name, holders_json(lock), lock.expires_at - now }
end

lock.last_fencing_token = math.max(lock.last_fencing_token + 1, now_us)
lock.lease_id, lock.owner, lock.expires_at, lock.metadata = lease_id, owner, now + ttl_ms, metadata
mark_dirty(lock_key, encode_lock)

return { 'ok', lease_fields(lock_name, lock) }
