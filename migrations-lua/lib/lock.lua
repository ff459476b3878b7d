--- @include "lib/actor"
--- @export open_lock, encode_lock, free_after_ms, lease_of, grant_lease, end_lease, lease_refusal, next_token, holders_json

-- The record of a lock, packed: its version byte, the mode of its leases, the permits of a lock that has some,
-- how many leases hold it and how many have lapsed, its last fencing token, the place of its newest waiter (0 while
-- nobody waits), and until when the index has its name. Then the leases, and those that lapsed last. All leases of a
-- lock have one mode.
local HEAD = '<BBI2I2Bddd'
-- A lease: its end, its fencing token, how many locks it is over, its id, and owner and metadata as JSON,
-- with the caller's key by `lib/actor.lua`.
local LEASE = '<ddBsss'
-- A lease that lapsed: when, its id, and as JSON the reason of the operator who broke it, or null.
local LAPSED = '<dss'
local MIN_LENGTH = 31

local MODES = { 'exclusive', 'shared', 'permit' }
local MODE_CODES = { exclusive = 1, shared = 2, permit = 3 }

-- The most leases that hold a lock at a time.
local MAX_HOLDERS = 1000

-- The most leases that are listed as holders in an answer.
local MAX_LISTED = 20

-- A lock remembers so many leases that it has lost without a release, so that each of their holders learns that
-- its lease has ended, and is not told that it never had one.
local MAX_LAPSED = 16

-- The record outlives its leases, so that a late holder learns that its lease has ended, and its token outlives a
-- clock that is set back.
local KEPT_AFTER_END_MS = 3600 * 1000

local function remember_lapsed(lock, id, ended_at, reason)
  local lapsed = lock.lapsed
  if #lapsed == MAX_LAPSED then
    table.remove(lapsed, 1)
  end
  lapsed[#lapsed + 1] = { id = id, ended_at = ended_at, reason = reason }
end

local function decode_lock(key, text)
  local version, mode, permits, count, lapsed_count, last_token, newest_place, indexed_until, at
  if #text >= MIN_LENGTH then
    version, mode, permits, count, lapsed_count, last_token, newest_place, indexed_until, at = struct.unpack(HEAD, text)
  end
  local is_lock = version == 1 and MODES[mode] and last_token + newest_place + indexed_until >= 0 and count <= MAX_HOLDERS
  if not is_lock then
    fail_corrupt(key, 'a lock')
  end
  local leases, ended = {}, {}
  for _ = 1, count do
    local expires_at, token, locks, id, owner, metadata
    expires_at, token, locks, id, owner, metadata, at = struct.unpack(LEASE, text, at)
    local lease = { id = id, expires_at = expires_at, token = token, locks = locks, owner = owner, metadata = metadata }
    -- A lease is over at its end, whether or not anybody was there to see it.
    local list = expires_at > now and leases or ended
    list[#list + 1] = lease
  end
  local lock = {
    mode = MODES[mode],
    permits = permits,
    last_token = last_token,
    newest_place = newest_place,
    indexed_until = indexed_until,
    leases = leases,
    lapsed = {},
  }
  for i = 1, lapsed_count do
    local ended_at, id, reason
    ended_at, id, reason, at = struct.unpack(LAPSED, text, at)
    lock.lapsed[i] = { id = id, ended_at = ended_at, reason = reason }
  end
  for i = 1, #ended do
    remember_lapsed(lock, ended[i].id, ended[i].expires_at, 'null')
  end
  return lock
end

-- Returns the lock under a key, without the leases that are over. One that was never held is free.
function open_lock(key)
  local lock = open_record(key, decode_lock)
  if not lock then
    lock = {
      mode = 'exclusive', permits = 0, last_token = 0, newest_place = 0, indexed_until = 0, leases = {}, lapsed = {},
    }
    open_records[key] = lock
  end
  return lock
end

-- Returns the text of a lock and its time to live.
function encode_lock(_, lock)
  local leases, lapsed = lock.leases, lock.lapsed
  -- The clock may have been set back: the record lives until it is past the token again.
  local last = math.max(now, lock.last_token / 1000)
  local head = struct.pack(HEAD, 1, MODE_CODES[lock.mode], lock.permits, #leases, #lapsed, lock.last_token, lock.newest_place,
    lock.indexed_until)
  local parts = { head }
  for i = 1, #leases do
    local lease = leases[i]
    last = math.max(last, lease.expires_at)
    parts[#parts + 1] = struct.pack(LEASE, lease.expires_at, lease.token, lease.locks, lease.id, lease.owner, lease.metadata)
  end
  for i = 1, #lapsed do
    parts[#parts + 1] = struct.pack(LAPSED, lapsed[i].ended_at, lapsed[i].id, lapsed[i].reason)
  end
  return table.concat(parts), math.ceil(last - now) + KEPT_AFTER_END_MS
end

-- Returns true if a lease of this mode can hold the lock beside those that do. All permits of a lock are counted
-- out of the same number.
local function may_enter(lock, mode)
  local count = #lock.leases
  if count == 0 then
    return true
  end
  return mode == lock.mode and mode ~= 'exclusive' and count < (mode == 'permit' and lock.permits or MAX_HOLDERS)
end

-- Returns after how many milliseconds a lease of this mode may hold the lock if nobody releases or renews: 0 for
-- now. One that shares the lock waits for the first lease to end, any other for the last one.
function free_after_ms(lock, mode)
  if may_enter(lock, mode) then
    return 0
  end
  local choose = mode == lock.mode and mode ~= 'exclusive' and math.min or math.max
  local free_at = lock.leases[1].expires_at
  for i = 2, #lock.leases do
    free_at = choose(free_at, lock.leases[i].expires_at)
  end
  return free_at - now
end

-- Returns the living lease with this id and its place among the leases, or nil.
function lease_of(lock, lease_id)
  for i = 1, #lock.leases do
    if lock.leases[i].id == lease_id then
      return lock.leases[i], i
    end
  end
  return nil
end

-- Returns the next fencing token. It is above all that came before, even if the record was lost or the clock was
-- set back.
function next_token(lock)
  return math.max(lock.last_token + 1, now_us)
end

-- Adds a lease to a lock that it may enter.
function grant_lease(lock, mode, permits, lease)
  lease.token = next_token(lock)
  lease.metadata = acting_key and with_actor(lease.metadata) or lease.metadata
  lock.last_token = lease.token
  lock.mode, lock.permits = mode, permits
  lock.leases[#lock.leases + 1] = lease
end

-- Ends the lease at this place among the leases. `reason` is JSON for one that an operator broke, and nil for one
-- that its holder has released.
function end_lease(lock, place, reason)
  local lease = table.remove(lock.leases, place)
  if reason then
    remember_lapsed(lock, lease.id, now, reason)
  end
end

-- Returns why no living lease has this id: it has ended, or it never held the lock or was released.
function lease_refusal(lock, lock_name, lease_id)
  for i = #lock.lapsed, 1, -1 do
    local lapsed = lock.lapsed[i]
    if lapsed.id == lease_id then
      return { 'lease_expired', lock_name, lease_id, lapsed.ended_at, lapsed.reason }
    end
  end
  return { 'lease_not_owner', lock_name, lease_id }
end

-- Returns the first holders as JSON, or those with this owner, without the lease_id, which proves the lease and belongs to its holder.
function holders_json(lock, owner)
  local holders, count = {}, 0
  for i = 1, #lock.leases do
    local lease = lock.leases[i]
    if count < MAX_LISTED and (not owner or lease.owner == owner) then
      count = count + 1
      local metadata, actor = split_actor(lease.metadata)
      holders[count] = ('{"owner":%s,"mode":"%s","fencing_token":%d,"expires_in_ms":%d,"metadata":%s%s}'):format(
        lease.owner, lock.mode, lease.token, lease.expires_at - now, metadata, actor
      )
    end
  end
  return '[' .. table.concat(holders, ',') .. ']', count
end
