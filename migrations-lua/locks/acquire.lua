--[[
Acquires one lock, or several of which all are acquired or none. A caller that waits is queued where it cannot
have them yet, and tries again when it is told.

AWAITS REPLICAS

KEYS
  processes_key    zset    processes in which somebody waits
  index_key        zset    names of the locks of the space
  ends_key         zset    when they may leave it
  * lock_key       record  lock
  * queue_key      zset    its waiters

ARGV
  owner            JSON, a string
  ttl_ms           how long the lease lasts
  mode             exclusive, shared or permit
  permits          how many leases of mode permit hold the lock at a time; 0 for another mode
  metadata         JSON, an object of strings
  wait_ms          how long the caller waits in all; 0 for not at all
  lease_id         generated
  waiter           how the caller stands in a queue
  place            where it stands in the queues; nothing for the first try
  waited_ms        how long it has waited
  is_last_try      true for the try after which the caller goes
  ended_message    message to other calls under the same idempotency key once it is answered; nothing without a key
  * lock_name      id

REPLY
  ok                 state waited_ms place try_after_ms was_alive lease_id owner:json mode permits locks:json expires_at expires_in_ms metadata:json
  lock_held          lock holders:json holder_count queue_length retry_after_ms
  lock_wait_timeout  lock holders:json holder_count queue_length queue_position waited_ms
  permits_mismatch   lock permits required
]]
--- @include "lib/lock"
--- @include "lib/lock_queue"
--- @include "lib/lock_index"
--- @include "lib/lease"

ttl_ms, permits, place = tonumber(ttl_ms), tonumber(permits), tonumber(place)
local count = line_count()
local process = waiter:match('^%x*')

-- The same lease again is a try that was sent twice: it answers what it has.
local first_lock_key = keys_of_line(1)
local lease = lease_of(open_lock(first_lock_key), lease_id)
if lease then
  return { 'ok', 'granted', waited_ms, false, false, 'true', lease_fields(lease_id) }
end

-- Of all locks: the first that keeps the caller out, and after how many milliseconds it should try again: when
-- the leases that keep it out are over, if it is the first in all queues; false if it has to be told.
local blocking, blocking_queue, free_after, try_after = nil, nil, 0, 0
for i = 1, count do
  local lock_key, queue_key = keys_of_line(i)
  local lock = open_lock(lock_key)
  if mode == 'permit' and lock.mode == 'permit' and #lock.leases > 0 and lock.permits ~= permits then
    tell_repeats(processes_key, place, ended_message)
    return { 'permits_mismatch', args_of_line(i), permits, lock.permits }
  end
  local free_in = free_after_ms(lock, mode)
  local first, more
  if wait_ms ~= '0' then
    know_alive(queue_key, process)
  end
  if free_in == 0 or wait_ms ~= '0' then
    first, more = first_waiter(lock, queue_key, processes_key)
  end
  local is_behind = first and first.member ~= waiter
  if free_in > 0 or is_behind or more then
    blocking, blocking_queue = blocking or i, blocking_queue or queue_key
  end
  free_after = math.max(free_after, free_in)
  try_after = not is_behind and try_after and math.max(try_after, free_in)
end

if not blocking then
  for i = 1, count do
    local lock_key, queue_key = keys_of_line(i)
    local lock = open_lock(lock_key)
    grant_lease(lock, mode, permits, {
      id = lease_id, expires_at = now + ttl_ms, locks = count, owner = owner, metadata = metadata,
    })
    local own_place = place_of(lock, queue_key, waiter)
    if own_place then
      leave_queue(queue_key, waiter, own_place)
    end
    index_lock(lock, args_of_line(i), index_key, ends_key, now + ttl_ms)
    -- The next in line enters as well, or learns how long it waits.
    wake_first(lock, queue_key, processes_key)
    mark_dirty(lock_key, encode_lock)
  end
  tell_repeats(processes_key, place, ended_message)
  return { 'ok', 'granted', waited_ms, false, false, 'true', lease_fields(lease_id) }
end

local lock_name = args_of_line(blocking)
local lock = open_lock((keys_of_line(blocking)))
if wait_ms == '0' then
  local queue_length = lock.newest_place == 0 and 0 or redis.call('ZCARD', blocking_queue)
  -- A lock that is free is on its way to the first who waits for it.
  local retry_after = math.max(free_after, 1)
  return { 'lock_held', lock_name, (holders_json(lock)), #lock.leases, queue_length, retry_after }
end
if is_last_try == 'true' then
  local position = redis.call('ZRANK', blocking_queue, waiter)
  local reply = {
    'lock_wait_timeout', lock_name, (holders_json(lock)), #lock.leases, redis.call('ZCARD', blocking_queue),
    position and position + 1 or false, tonumber(waited_ms),
  }
  for i = 1, count do
    local lock_key, queue_key = keys_of_line(i)
    give_up_place(open_lock(lock_key), queue_key, processes_key, waiter)
  end
  tell_repeats(processes_key, place, ended_message)
  return reply
end

-- One place for all queues, so that callers of several locks stand in the same order everywhere. A try that was
-- sent twice keeps its place.
local _, first_queue = keys_of_line(1)
place = place or place_of(open_lock(first_lock_key), first_queue, waiter)
if not place then
  place = now_us
  for i = 1, count do
    place = math.max(place, open_lock((keys_of_line(i))).newest_place + 1)
  end
end
for i = 1, count do
  local lock_key, queue_key = keys_of_line(i)
  local queued = open_lock(lock_key)
  if not place_of(queued, queue_key, waiter) then
    enter_queue(queued, queue_key, waiter, place)
    mark_dirty(lock_key, encode_lock)
  end
end
local was_alive = hear_of(processes_key, process) and 'true' or 'false'
return {
  'ok', 'waiting', waited_ms, ('%d'):format(place), try_after, was_alive, false, false, false, false, false, false, false, false,
  replayable = false,
}
