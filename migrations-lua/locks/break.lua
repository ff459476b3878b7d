--[[
Takes a lock away from all its holders, whatever their leases say. Its fencing token moves on.

KEYS
  processes_key    zset    processes in which somebody waits
  lock_key         record  lock
  queue_key        zset    its waiters

ARGV
  lock_name        id
  reason           JSON, a string

REPLY
  ok               lock broken:json reason:json last_fencing_token
]]
--- @include "lib/lock"
--- @include "lib/lock_queue"

local lock = open_lock(lock_key)
local broken = holders_json(lock)
for place = #lock.leases, 1, -1 do
  end_lease(lock, place, reason)
end
lock.last_token = next_token(lock)
wake_first(lock, queue_key, processes_key)
mark_dirty(lock_key, encode_lock)

return { 'ok', lock_name, broken, reason, ('%d'):format(lock.last_token) }
