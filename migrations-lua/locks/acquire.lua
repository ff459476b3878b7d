--[[
Take a lock for a while, if nobody holds it.

KEYS
  lock_key         lock

ARGV
  lock_name        id
  owner            JSON, a string
  ttl_ms           how long the lease lasts
  metadata         JSON, an object of strings
  lease_id         minted

REPLY
  ok               lease_id lock owner:json mode fencing_token expires_at expires_in_ms metadata:json
  lock_held        lock holders:json retry_after_ms
]]
--- @include "lib/lock"

local lock_key = unpack(keys)
local lock_name, owner, ttl_ms, metadata, lease_id = unpack(args)

local it = lock(lock_key)
if is_held(it) then
  return { 'lock_held', lock_name, holders_of(it), it.expires_at - now }
end

it.last_fencing_token = math.max(it.last_fencing_token + 1, now_us)
it.lease_id, it.owner, it.expires_at, it.metadata = lease_id, owner, now + ttl_ms, metadata
change(lock_key, encode_lock)

return { 'ok', lease_fields(lock_name, it) }
