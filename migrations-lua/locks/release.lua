--[[
Releases a lease before its end.

KEYS
  processes_key    zset    processes in which somebody waits
  released_key     record  names of the locks that a lease was released from, kept for a minute
  * lock_key       record  lock
  * queue_key      zset    its waiters

ARGV
  lease_id         id
  * lock_name      id

REPLY
  ok                    lease_id released lost
  lease_expired         lock lease_id expired_at:instant reason:json
  lease_not_owner       lock lease_id
  lease_locks_mismatch  lease_id required given
]]
--- @include "lib/lock"
--- @include "lib/lock_queue"

-- A release can be repeated for this long.
local RELEASE_KEPT_MS = 60 * 1000

local function encode_release(_, lock_names)
  return lock_names, RELEASE_KEPT_MS
end

local count = line_count()
local names = {}
for i = 1, count do
  names[i] = args_of_line(i)
end
local lock_names = table.concat(names, ' ')

-- A holder whose reply was lost repeats the call, and by then the lock may be held by another lease.
local released = open_records[released_key] or read_record(released_key)
if released then
  local before, lost = released:match('^([^|]*)|(.*)$')
  if before == lock_names then
    local lost_names = {}
    for name in lost:gmatch('%S+') do
      lost_names[#lost_names + 1] = name
    end
    return { 'ok', lease_id, 'true', lost_names }
  end
end

-- A lease over several locks may have lost some of them to an operator. The others are released all the same.
local held, lost = {}, {}
for i = 1, count do
  local lock = open_lock((keys_of_line(i)))
  local lease, place = lease_of(lock, lease_id)
  if not lease then
    lost[#lost + 1] = names[i]
  elseif lease.locks ~= count then
    return { 'lease_locks_mismatch', lease_id, lease.locks, count }
  else
    held[#held + 1] = { line = i, place = place }
  end
end
if #held == 0 then
  return lease_refusal(open_lock((keys_of_line(1))), names[1], lease_id)
end

for i = 1, #held do
  local lock_key, queue_key = keys_of_line(held[i].line)
  local lock = open_lock(lock_key)
  end_lease(lock, held[i].place)
  wake_first(lock, queue_key, processes_key)
  mark_dirty(lock_key, encode_lock)
end
open_records[released_key] = lock_names .. '|' .. table.concat(lost, ' ')
mark_dirty(released_key, encode_release)

return { 'ok', lease_id, 'true', lost }
