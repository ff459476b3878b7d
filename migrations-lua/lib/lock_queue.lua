--- @include "lib/keep_for"
--- @include "lib/lock"
--- @export hear_of, forget_processes, know_alive, first_waiter, place_of, enter_queue, leave_queue, give_up_place, wake_first, tell_repeats, waiters_json

-- The queue of a lock: a sorted set of its waiters, scored by their places. A waiter is
-- `process:number:mode:owner`: the process that it waits in, its number there, the first letter of its mode, and
-- its owner as JSON. It is alive while its process is: all processes with waiters in a space stand in one sorted
-- set, scored by when they were last heard of.
local WAITER = '^(%x+):(%d+):(%a):(.*)$'
local MODES = { e = 'exclusive', s = 'shared', p = 'permit' }

-- A process that was not heard of for so long has gone, and its waiters are passed over.
local ALIVE_MS = 1500

-- After so long it is forgotten.
local FORGOTTEN_MS = 60 * 1000

-- The queue ends by itself this long after its newest waiter came. The longest wait is 25 seconds.
local QUEUE_KEPT_MS = 60 * 1000

-- The most waiters of processes that have gone that one step removes.
local MAX_PASSED_OVER = 1000

-- The most waiters that an answer lists.
local MAX_LISTED = 100

-- Returns what the steps of this script have changed of a queue so far.
local function changes_of(queue_key)
  local changes = open_records[queue_key]
  if not changes then
    changes = { added = {}, removed = {}, known = {} }
    open_records[queue_key] = changes
  end
  return changes
end

-- Returns true if a process was heard of lately. A clock that was set back makes the last time lie ahead: then
-- the process is known again once it is heard of.
local function is_alive(changes, processes_key, process)
  local alive = changes.known[process]
  if alive == nil then
    local heard_at = redis.call('ZSCORE', processes_key, process)
    alive = heard_at and math.abs(now - heard_at) <= ALIVE_MS or false
    changes.known[process] = alive
  end
  return alive
end

-- Notes that a process is there, and returns true if it was heard of lately. If it was not, its waiters may have
-- been passed over.
function hear_of(processes_key, process)
  local heard = open_records[processes_key]
  if not heard then
    heard = {}
    open_records[processes_key] = heard
  end
  if heard[process] == nil then
    local heard_at = redis.call('ZSCORE', processes_key, process)
    heard[process] = heard_at and math.abs(now - heard_at) <= ALIVE_MS or false
    add_member(processes_key, now, process, heard_at)
    keep_for(processes_key, FORGOTTEN_MS)
  end
  return heard[process]
end

-- Removes the processes that have gone.
function forget_processes(processes_key)
  queue_cleanup('ZREMRANGEBYSCORE', processes_key, '-inf', now - FORGOTTEN_MS)
end

-- Counts a process as alive for the rest of the script, which it has sent.
function know_alive(queue_key, process)
  changes_of(queue_key).known[process] = true
end

local function decode_waiter(queue_key, member, place)
  local process, number, mode, owner = member:match(WAITER)
  if not process or not MODES[mode] then
    fail_corrupt(queue_key, 'waiters')
  end
  return { member = member, place = place, process = process, number = number, mode = MODES[mode], owner = owner }
end

-- Removes waiters whose processes have gone.
local function pass_over(changes, queue_key, waiters)
  local remove, undo = { 'ZREM', queue_key }, { 'ZADD', queue_key }
  for i = 1, #waiters do
    local waiter = waiters[i]
    changes.removed[waiter.member] = true
    remove[i + 2] = waiter.member
    undo[2 * i + 1], undo[2 * i + 2] = waiter.place, waiter.member
  end
  queue_removal(remove, undo, QUEUE_KEPT_MS)
end

-- Returns the first waiter whose process is alive, or nil where nobody waits. Waiters before it, whose processes have
-- gone, are removed. The second result is true if there are more of these than one step removes: then the first living
-- one is not known yet.
function first_waiter(lock, queue_key, processes_key)
  if lock.newest_place == 0 then
    return nil
  end
  local changes = changes_of(queue_key)
  -- Two lists are read together in the order of places: the queue as it is stored, and the waiters that this script
  -- has added. Nearly always the first or the second stored one is found; after these two a hundred are read at a
  -- time, and `length` is false once there are no more.
  local added, next_added, start, length, passed_over, first = changes.added, 1, 0, 2, {}, nil
  local stored, at = {}, 1
  repeat
    if at > #stored and length then
      stored, at = redis.call('ZRANGE', queue_key, start, start + length - 1, 'WITHSCORES'), 1
      start, length = start + length, #stored == 2 * length and 100
    end
    local member, place = stored[at], tonumber(stored[at + 1])
    local newer = added[next_added]
    if newer and (not member or newer.place < place) then
      member, place, next_added = newer.member, newer.place, next_added + 1
    else
      at = at + 2
    end
    if member and not changes.removed[member] then
      local waiter = decode_waiter(queue_key, member, place)
      if is_alive(changes, processes_key, waiter.process) then
        first = waiter
      else
        passed_over[#passed_over + 1] = waiter
      end
    end
  until first or not member or #passed_over == MAX_PASSED_OVER
  if #passed_over > 0 then
    pass_over(changes, queue_key, passed_over)
  end
  local more = not first and #passed_over == MAX_PASSED_OVER
  if not first and not more then
    lock.newest_place = 0
  end
  return first, more
end

-- Returns the place of a waiter in the queue, or nil.
function place_of(lock, queue_key, member)
  if lock.newest_place == 0 then
    return nil
  end
  local changes = changes_of(queue_key)
  if changes.removed[member] then
    return nil
  end
  for i = 1, #changes.added do
    if changes.added[i].member == member then
      return changes.added[i].place
    end
  end
  local place = redis.call('ZSCORE', queue_key, member)
  return place and tonumber(place)
end

-- Adds a waiter at a place. One that was passed over comes back to its old place.
function enter_queue(lock, queue_key, member, place)
  local changes = changes_of(queue_key)
  local at = #changes.added + 1
  while at > 1 and changes.added[at - 1].place > place do
    at = at - 1
  end
  table.insert(changes.added, at, { member = member, place = place })
  changes.removed[member] = nil
  lock.newest_place = math.max(lock.newest_place, place)
  add_member(queue_key, place, member)
  keep_for(queue_key, QUEUE_KEPT_MS)
end

-- Removes a waiter, which stands at this place.
function leave_queue(queue_key, member, place)
  changes_of(queue_key).removed[member] = true
  remove_member(queue_key, place, member, QUEUE_KEPT_MS)
end

-- Tells the first waiter when to try: now if it may enter, else when the leases that keep it out are over. The
-- message may be lost: every process asks for the first waiters of its own as well, see `locks/heartbeat`.
function wake_first(lock, queue_key, processes_key)
  local first = first_waiter(lock, queue_key, processes_key)
  if first then
    queue_cleanup('PUBLISH', 'lockstep:process:' .. first.process, first.number .. ' ' .. free_after_ms(lock, first.mode))
  end
end

-- Removes a waiter that no longer waits. If it was the first, the next one is told when to try.
function give_up_place(lock, queue_key, processes_key, member)
  local place = place_of(lock, queue_key, member)
  if place then
    local first = first_waiter(lock, queue_key, processes_key)
    leave_queue(queue_key, member, place)
    if first and first.member == member then
      wake_first(lock, queue_key, processes_key)
    end
  end
end

-- Publishes `message` to all processes in which somebody waits: a call that has waited at `place` is answered, and
-- other calls under its idempotency key, wherever they wait, shall try again and find that answer. A call without a
-- place has not waited, so a call that came later has found its answer.
function tell_repeats(processes_key, place, message)
  if not place or message == '' then
    return
  end
  local processes = redis.call('ZRANGE', processes_key, 0, -1)
  for i = 1, #processes do
    queue_cleanup('PUBLISH', 'lockstep:process:' .. processes[i], message)
  end
end

-- Returns how many wait, and the first of them as JSON. A read only script calls it, so nobody is passed over.
function waiters_json(queue_key, processes_key)
  local changes = changes_of(queue_key)
  local members = redis.call('ZRANGE', queue_key, 0, MAX_LISTED - 1, 'WITHSCORES')
  local waiters = {}
  for i = 1, #members, 2 do
    local waiter = decode_waiter(queue_key, members[i], tonumber(members[i + 1]))
    if is_alive(changes, processes_key, waiter.process) then
      waiters[#waiters + 1] = ('{"owner":%s,"mode":"%s","waiting_ms":%d}'):format(
        waiter.owner, waiter.mode, math.max(now - math.floor(waiter.place / 1000), 0)
      )
    end
  end
  local length = #waiters
  if #members == 2 * MAX_LISTED then
    length = redis.call('ZCARD', queue_key)
  end
  return length, '[' .. table.concat(waiters, ',') .. ']'
end
