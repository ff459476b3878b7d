--[[
Releases a lock before its lease ends.

KEYS
  lock_key         record  lock
  released_key     record  name of the lock that a lease was released from, kept for a minute

ARGV
  lock_name        id
  lease_id         id

REPLY
  ok               lock lease_id released
  lease_expired    lock lease_id expired_at:instant
  lease_not_owner  lock lease_id
]]
--- @include "lib/lock"

-- A holder whose reply was lost repeats the call, and by then the lock may be held by another lease.
if (open_records[released_key] or read_record(released_key)) == lock_name then
  return { 'ok', lock_name, lease_id, 'true' }
end
local lock = open_lock(lock_key)
local refusal = check_lease(lock, lock_name, lease_id)
if refusal then
  return refusal
end

lock.lease_id, lock.owner, lock.expires_at, lock.metadata = '', '""', 0, '{}'
mark_dirty(lock_key, encode_lock)
open_records[released_key] = lock_name
mark_dirty(released_key, encode_release)

return { 'ok', lock_name, lease_id, 'true' }
