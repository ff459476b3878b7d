--[[
Give a lock back before its time is up.

KEYS
  lock_key         lock
  released_key     the lock that a lease was released from, for a minute

ARGV
  lock_name        id
  lease_id         id

REPLY
  ok               lock lease_id released
  lease_expired    lock lease_id expired_at:instant
  lease_not_owner  lock lease_id
]]
--- @include "lib/lock"

local lock_key, released_key = unpack(keys)
local lock_name, lease_id = unpack(args)

-- A holder whose answer was lost asks again, and by then the lock may be somebody else's.
if (live[released_key] or stored(released_key)) == lock_name then
  return { 'ok', lock_name, lease_id, 'true' }
end
local it = lock(lock_key)
local refusal = refuse_lease(it, lock_name, lease_id)
if refusal then
  return refusal
end

it.lease_id, it.owner, it.expires_at, it.metadata = '', '""', 0, '{}'
change(lock_key, encode_lock)
live[released_key] = lock_name
change(released_key, function(_, name)
  return name, 60000
end)

return { 'ok', lock_name, lease_id, 'true' }
