--[[
Renews a lease, counted from now.

AWAITS REPLICAS

KEYS
  processes_key    zset    processes in which somebody waits
  index_key        zset    names of the locks of the space
  ends_key         zset    when they may leave it
  * lock_key       record  lock
  * queue_key      zset    its waiters

ARGV
  lease_id         id
  ttl_ms           how long the lease lasts from now
  * lock_name      id

REPLY
  ok                    lease_id owner:json mode permits locks:json expires_at expires_in_ms metadata:json
  lease_expired         lock lease_id expired_at:instant reason:json
  lease_not_owner       lock lease_id
  lease_locks_mismatch  lease_id required given
]]
--- @include "lib/lock"
--- @include "lib/lock_queue"
--- @include "lib/lock_index"
--- @include "lib/lease"

local count = line_count()
for i = 1, count do
  local lock = open_lock((keys_of_line(i)))
  local lease = lease_of(lock, lease_id)
  if not lease then
    return lease_refusal(lock, args_of_line(i), lease_id)
  end
  if lease.locks ~= count then
    return { 'lease_locks_mismatch', lease_id, lease.locks, count }
  end
end

for i = 1, count do
  local lock_key, queue_key = keys_of_line(i)
  local lock = open_lock(lock_key)
  local lease = lease_of(lock, lease_id)
  lease.expires_at = now + ttl_ms
  index_lock(lock, args_of_line(i), index_key, ends_key, lease.expires_at)
  -- The first who waits may have to wait less long than before.
  wake_first(lock, queue_key, processes_key)
  mark_dirty(lock_key, encode_lock)
end

return { 'ok', lease_fields(lease_id) }
