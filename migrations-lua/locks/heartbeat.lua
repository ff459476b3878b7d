--[[
Notes that a process is there, so that its waiters keep their places, and answers which of them are the first of their
queues: messages can be lost, and the processes of waiters before them can have gone.

INTERNAL

KEYS
  processes_key    zset    processes in which somebody waits
  * lock_key       record  lock that somebody in this process waits for
  * queue_key      zset    its waiters

ARGV
  process          id of the process

REPLY
  ok               was_alive more firsts
]]
--- @include "lib/lock"
--- @include "lib/lock_queue"

local firsts, more = {}, 'false'
local was_alive = hear_of(processes_key, process)
for i = 1, line_count() do
  local lock_key, queue_key = keys_of_line(i)
  know_alive(queue_key, process)
  local lock = open_lock(lock_key)
  local is_known = lock.newest_place > 0
  lock.newest_place = math.max(lock.newest_place, 1)
  local first, more_gone = first_waiter(lock, queue_key, processes_key)
  if more_gone then
    more = 'true'
  end
  if first and not is_known then
    -- The record of the lock was lost. A call that comes later must not overtake the calls that wait.
    lock.newest_place = first.place
    mark_dirty(lock_key, encode_lock)
  end
  if first and first.process == process then
    firsts[#firsts + 1] = first.number .. ' ' .. free_after_ms(lock, first.mode)
  end
end
forget_processes(processes_key)

return { 'ok', was_alive and 'true' or 'false', more, firsts }
