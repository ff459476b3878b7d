--[[
Undoes an acquire whose caller has gone: gives up its place in the queues, and ends its lease if it got one.

INTERNAL

KEYS
  processes_key    zset    processes in which somebody waits
  * lock_key       record  lock
  * queue_key      zset    its waiters

ARGV
  lease_id         id
  waiter           how the caller stands in the queues

REPLY
  ok               released
]]
--- @include "lib/lock"
--- @include "lib/lock_queue"

local released = 'false'
for i = 1, line_count() do
  local lock_key, queue_key = keys_of_line(i)
  local lock = open_lock(lock_key)
  if waiter ~= '' then
    -- The queue says who waits, even if the record of the lock was lost.
    lock.newest_place = math.max(lock.newest_place, 1)
    give_up_place(lock, queue_key, processes_key, waiter)
  end
  local lease, place = lease_of(lock, lease_id)
  if lease then
    end_lease(lock, place)
    wake_first(lock, queue_key, processes_key)
    mark_dirty(lock_key, encode_lock)
    released = 'true'
  end
end
return { 'ok', released }
