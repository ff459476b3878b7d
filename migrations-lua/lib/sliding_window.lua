--- @export admit

-- The exact log of a window: a sorted set scored by the instant of each admission. A member is
-- `total:units`, the running total after the admission and its own units, so the units within any stretch of
-- time are the difference of two totals. The total is padded, so that members sort as numbers.
local ENTRY = '^(%d+):(%d+)$'

--- @lazy
local function parse_entry(key, member)
  local running, units = member:match(ENTRY)
  if not running or #running ~= 16 or #units > 5 then
    fail_corrupt(key, 'a window')
  end
  return tonumber(running), tonumber(units)
end

-- Returns the state of a window; the admissions of this script are added to it in memory.
--- @lazy
local function open_window(key, window_ms)
  local window = open_records[key]
  if window then
    return window
  end
  window = { total = 0, before = 0, added = 0 }
  local newest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  if newest[1] then
    window.total = parse_entry(key, newest[1])
    window.before, window.newest_at = window.total, tonumber(newest[2])
    local oldest = redis.call('ZRANGEBYSCORE', key, '(' .. (now - window_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if oldest[1] then
      window.oldest, window.oldest_at = oldest[1], tonumber(oldest[2])
      window.oldest_total, window.oldest_units = parse_entry(key, window.oldest)
      window.before = window.oldest_total - window.oldest_units
    end
  end
  open_records[key] = window
  return window
end

-- Returns the instant of an admission: should the clock step back, it is not before the one before it.
local function admitted_at(window)
  return math.max(now, window.newest_at or 0)
end

-- Returns the instant at which the running total reached `goal`: that of the entry which must leave the
-- window before there is room.
--- @lazy
local function reached_at(key, window, goal)
  if not window.oldest or goal > window.total - window.added then
    return admitted_at(window)
  end
  if window.oldest_total >= goal then
    return window.oldest_at
  end
  local low, high = redis.call('ZRANK', key, window.oldest), redis.call('ZCARD', key) - 1
  while low + 1 < high do
    local middle = math.floor((low + high) / 2)
    local member = redis.call('ZRANGE', key, middle, middle)[1]
    if parse_entry(key, member) >= goal then
      high = middle
    else
      low = middle
    end
  end
  return tonumber(redis.call('ZRANGE', key, high, high, 'WITHSCORES')[2])
end

--- @lazy
local function encode_window(key, window)
  add_member(key, admitted_at(window), ('%016d:%d'):format(window.total, window.added))
  local expiry = { 'PEXPIRE', key, admitted_at(window) + window.window_ms - now }
  queue_addition(expiry, expiry)
  queue_cleanup('ZREMRANGEBYSCORE', key, '-inf', now - window.window_ms)
end

-- Admits `cost` units if they fit. Returns whether they do, what remains, and in how many milliseconds there
-- is room for `cost` and for all.
--- @lazy
function admit(key, cost, limit, window_ms)
  local window = open_window(key, window_ms)
  local used = window.total - window.before
  if used + cost > limit then
    local retry_after_ms = reached_at(key, window, window.total + cost - limit) + window_ms - now
    local newest_at = window.added > 0 and admitted_at(window) or window.newest_at
    return false, math.max(limit - used, 0), retry_after_ms, newest_at + window_ms - now
  end
  window.total, window.added, window.window_ms = window.total + cost, window.added + cost, window_ms
  mark_dirty(key, encode_window)
  return true, limit - used - cost, 0, admitted_at(window) + window_ms - now
end
