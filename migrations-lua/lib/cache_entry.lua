--- @include "lib/cache_tags"
--- @include "lib/keep_for"
--- @export open_entry, entry_state, value_fields, lease_entry, wait_for_entry, end_entry_lease, store_value, drop_value

-- The record of a cache entry, packed: its version byte, flags, its version, when its value was stored, when that ends,
-- for how long after that it is stale, how long before it is refreshed, the number of the newest invalidation of a
-- tag before it, and how many tags and waiting processes follow.
local HEAD = '<BBddddddBB'
-- The lease of the caller who fills it: its token, when it was granted, when it ends, and the number of the newest
-- invalidation of a tag before it.
local LEASE = '<sddd'
local MIN_LENGTH = 52

-- Flags. A large value stands in a hash beside the record, in one of two fields, so that a new value never takes the
-- place of the old one before the commit has succeeded.
local HAS_VALUE = 1
local IS_BYTES = 2
local VERSION_GIVEN = 4
local IS_LARGE = 8
local IN_SECOND_FIELD = 16
local INVALIDATED = 32
local HAS_LEASE = 64

-- An entry whose writers give versions remembers the last one for so long after its value has ended.
local REMEMBERED_MS = 600 * 1000

-- So many processes are told when an entry is filled. The waiters of others look for themselves.
local MAX_WAITING_PROCESSES = 64

-- A large value begins with a stamp that its record has too, so that a reader knows that it has read that value.
local STAMP_LENGTH = 16

-- Versions from here on are sent as text, because a number would lose digits on its way.
local LONG_VERSION = 100000000000000

local function has_flag(flags, flag)
  return flags % (2 * flag) >= flag
end

local function read_texts(text, at, count)
  local texts = {}
  for i = 1, count do
    texts[i], at = struct.unpack('<s', text, at)
  end
  return texts, at
end

local function decode_entry(key, text)
  local form, flags, version, stored_at, expires_at, stale_ms, refresh_ms, since, tag_count, waiting_count, at
  if #text >= MIN_LENGTH then
    form, flags, version, stored_at, expires_at, stale_ms, refresh_ms, since, tag_count, waiting_count, at =
      struct.unpack(HEAD, text)
  end
  -- A number that is none fails every comparison.
  local is_entry = form == 1 and version + stored_at + expires_at + stale_ms + refresh_ms + since >= 0
  if not is_entry then
    fail_corrupt(key, 'a cache entry')
  end
  local entry = {
    has_value = has_flag(flags, HAS_VALUE), is_bytes = has_flag(flags, IS_BYTES), version = version,
    is_version_given = has_flag(flags, VERSION_GIVEN), stored_at = stored_at, expires_at = expires_at, stale_ms = stale_ms,
    refresh_ms = refresh_ms, since = since, is_invalidated = has_flag(flags, INVALIDATED), tags = nil, waiting = nil,
    lease = nil, lease_lapsed = false, value = nil, stamp = nil,
    field = has_flag(flags, IN_SECOND_FIELD) and 1 or 0, was_large = has_flag(flags, IS_LARGE),
  }
  if entry.is_version_given and now >= expires_at + stale_ms + REMEMBERED_MS then
    entry.version, entry.is_version_given = 0, false
  end
  local last_end = expires_at + stale_ms
  if has_flag(flags, HAS_LEASE) then
    local token, granted_at, ends_at, lease_since
    token, granted_at, ends_at, lease_since, at = struct.unpack(LEASE, text, at)
    last_end = math.max(last_end, ends_at)
    if ends_at > now then
      entry.lease = { token = token, granted_at = granted_at, expires_at = ends_at, since = lease_since }
    else
      entry.lease_lapsed = true
    end
  end
  -- The count begins anew once neither value nor lease is left, as it does without a record.
  if not entry.is_version_given and now >= last_end then
    entry.version = 0
  end
  if tag_count > 0 then
    entry.tags, at = read_texts(text, at, tag_count)
  end
  if waiting_count > 0 then
    entry.waiting, at = read_texts(text, at, waiting_count)
  end
  if not entry.has_value then
    return entry
  end
  if entry.was_large then
    entry.stamp = text:sub(at)
    if #entry.stamp ~= STAMP_LENGTH then
      fail_corrupt(key, 'a cache entry')
    end
  else
    entry.value = text:sub(at)
  end
  return entry
end

-- Returns the entry under a key. One that was never filled has no value.
function open_entry(key)
  local entry = open_record(key, decode_entry)
  if not entry then
    entry = { has_value = false, version = 0, stored_at = 0, expires_at = 0, stale_ms = 0, refresh_ms = 0, since = 0, field = 0 }
    open_records[key] = entry
  end
  return entry
end

-- Returns what the value of an entry is worth now: `fresh`; `stale`, after its end; `kept`, after an invalidation
-- that has left it for the time until it is filled; or `none`.
function entry_state(entry, tags_key)
  if not entry.has_value then
    return 'none'
  end
  local ends_at, is_invalidated = entry.expires_at, entry.is_invalidated
  if entry.tags then
    local dropped, kept = tag_invalidations(tags_key, entry.tags, entry.since)
    if dropped then
      return 'none'
    end
    if kept then
      -- The number of an invalidation is the time at which it came, in microseconds.
      is_invalidated, ends_at = true, math.min(ends_at, math.floor(kept / 1000))
    end
  end
  if now >= ends_at + entry.stale_ms then
    return 'none'
  end
  return is_invalidated and 'kept' or now < ends_at and 'fresh' or 'stale'
end

-- Returns a version as a reply has it.
local function version_text(version)
  return version < LONG_VERSION and version or ('%d'):format(version)
end

-- Returns what a reply says of the value of an entry: its version, its age, the time to its end, whether it is bytes,
-- the field and the stamp of a large value, and the value.
function value_fields(entry, state)
  if state == 'none' then
    return false, false, false, 'false', false, false, false
  end
  local expires_in_ms = state == 'fresh' and entry.expires_at - now or 0
  return version_text(entry.version), math.max(now - entry.stored_at, 0), expires_in_ms, entry.is_bytes and 'true' or 'false',
    entry.stamp and entry.field or false, entry.stamp or false, entry.value or false
end

-- Writes a large value into the field that the old one is not in.
--- @lazy
local function write_large(entry, ends_at)
  entry.field = 1 - entry.field
  set_field(entry.values_key, tostring(entry.field), entry.large)
  -- The old value may be needed again, by an undo.
  keep_for(entry.values_key, math.max(ends_at, entry.old_end) - now)
  queue_cleanup('HDEL', entry.values_key, tostring(1 - entry.field))
  if entry.old_end > ends_at then
    queue_cleanup('PEXPIRE', entry.values_key, ends_at - now)
  end
end

-- Returns the text of an entry and its time to live, or has its record deleted.
--- @lazy
local function encode_entry(key, entry)
  local ends_at, flags = entry.expires_at + entry.stale_ms, entry.field * IN_SECOND_FIELD
  if entry.has_value then
    flags = flags + HAS_VALUE + (entry.stamp and IS_LARGE or 0) + (entry.is_bytes and IS_BYTES or 0)
      + (entry.is_invalidated and INVALIDATED or 0)
  end
  if entry.large then
    flags = flags - entry.field * IN_SECOND_FIELD
    write_large(entry, ends_at)
    flags = flags + entry.field * IN_SECOND_FIELD
  elseif entry.was_large and entry.values_key then
    -- An invalidation may have brought the end of the value nearer.
    queue_cleanup('PEXPIRE', entry.values_key, entry.stamp and ends_at - now or 0)
  end
  local lease, tags, waiting = entry.lease, entry.tags or {}, entry.waiting or {}
  local rest = { '', '', '' }
  if entry.is_version_given then
    flags = flags + VERSION_GIVEN
    ends_at = ends_at + REMEMBERED_MS
  end
  if lease then
    flags = flags + HAS_LEASE
    ends_at = math.max(ends_at, lease.expires_at)
    rest[2] = struct.pack(LEASE, lease.token, lease.granted_at, lease.expires_at, lease.since)
  end
  if ends_at <= now then
    delete_record(key)
    return nil
  end
  for i = 1, #tags do
    rest[#rest + 1] = tags[i] .. '\0'
  end
  for i = 1, #waiting do
    rest[#rest + 1] = waiting[i] .. '\0'
  end
  rest[1] = struct.pack(HEAD, 1, flags, entry.version, entry.stored_at, entry.expires_at, entry.stale_ms, entry.refresh_ms, entry.since,
    #tags, #waiting)
  rest[#rest + 1] = entry.has_value and (entry.stamp or entry.value) or ''
  return table.concat(rest), math.ceil(ends_at - now)
end

-- Removes the value, whose end is now if it has not come before. What it was is forgotten, but for its version.
--- @lazy
function drop_value(entry)
  entry.expires_at, entry.stale_ms = math.min(entry.expires_at + entry.stale_ms, now), 0
  entry.has_value, entry.value, entry.stamp, entry.large, entry.tags, entry.is_invalidated = false, nil, nil, nil, nil, false
end

-- Gives the lease of an entry to a caller who is to fill it.
--- @lazy
function lease_entry(entry_key, entry, tags_key, token, lease_ms)
  lease_ms = tonumber(lease_ms)
  entry.lease = { token = token, granted_at = now, expires_at = now + lease_ms, since = tag_sequence(tags_key, lease_ms) }
  mark_dirty(entry_key, encode_entry)
end

-- Has a process be told when the lease ends, because somebody waits there for the value.
--- @lazy
function wait_for_entry(entry_key, entry, process)
  local waiting = entry.waiting or {}
  for i = 1, #waiting do
    if waiting[i] == process then
      return
    end
  end
  if #waiting < MAX_WAITING_PROCESSES then
    waiting[#waiting + 1] = process
    entry.waiting = waiting
    mark_dirty(entry_key, encode_entry)
  end
end

-- Ends the lease, and wakes those who wait for the value.
--- @lazy
function end_entry_lease(entry_key, entry)
  entry.lease = nil
  for i = 1, entry.waiting and #entry.waiting or 0 do
    queue_cleanup('PUBLISH', 'lockstep:process:' .. entry.waiting[i], 'cache ' .. entry_key)
  end
  entry.waiting = nil
  mark_dirty(entry_key, encode_entry)
end

-- Gives an entry a new value. `large` is a value that stands beside the record, with its stamp before it; then `value`
-- is the stamp alone. Its tags carry the number `since`.
--- @lazy
function store_value(entry, values_key, value, large, is_bytes, ttl_ms, stale_ms, refresh_ms, tags, since)
  local old_end = entry.has_value and entry.expires_at + entry.stale_ms or now
  entry.old_end = math.max(old_end, entry.old_end or now)
  drop_value(entry)
  entry.has_value, entry.is_bytes, entry.stored_at, entry.expires_at = true, is_bytes == 'true', now, now + ttl_ms
  entry.stale_ms, entry.refresh_ms = tonumber(stale_ms), tonumber(refresh_ms)
  entry.tags, entry.since = tags, since
  entry.values_key = values_key
  if large ~= '' then
    entry.stamp, entry.large = value, large
  else
    entry.value = value
  end
end
