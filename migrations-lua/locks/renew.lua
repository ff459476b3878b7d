--[[
Give a lease more time, counted from now.

KEYS
  lock_key         lock

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

local lock_key = unpack(keys)
local lock_name, lease_id, ttl_ms = unpack(args)

local it = lock(lock_key)
local refusal = refuse_lease(it, lock_name, lease_id)
if refusal then
  return refusal
end

it.expires_at = now + ttl_ms
change(lock_key, encode_lock)

return { 'ok', lease_fields(lock_name, it) }
