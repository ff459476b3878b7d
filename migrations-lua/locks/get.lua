--[[
Returns the holders of a lock, those who wait for it, and its last fencing token.

READ ONLY

KEYS
  processes_key    zset    processes in which somebody waits
  lock_key         record  lock
  queue_key        zset    its waiters

ARGV
  lock_name        id

REPLY
  ok               lock held mode permits holders:json holder_count queue:json queue_length last_fencing_token
]]
--- @include "lib/lock"
--- @include "lib/lock_queue"

local lock = open_lock(lock_key)
local holder_count = #lock.leases
local is_held = holder_count > 0
local queue_length, queue = waiters_json(queue_key, processes_key)

return {
  'ok', lock_name, is_held and 'true' or 'false', is_held and lock.mode, is_held and lock.permits > 0 and lock.permits,
  (holders_json(lock)), holder_count, queue, queue_length, lock.last_token > 0 and ('%d'):format(lock.last_token),
}
