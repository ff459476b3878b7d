-- The exact log of a window: a sorted set scored by the instant of each admission. A member carries the
-- running total after it and its own units, `total:units`, so the units within any stretch of time are
-- a difference of two totals, however large the costs were. The total is padded to sort as a number.
local ENTRY = '^(%d+):(%d+)$'

local function parse_entry(key, member)
  local total, units = member:match(ENTRY)
  if not total or #total ~= 16 or #units > 5 then
    broken(key, 'a window')
  end
  return tonumber(total), tonumber(units)
end

-- What the set tells now; the admissions of this very call are added in memory.
local function open_window(key, window_ms)
  local it = live[key]
  if it then
    return it
  end
  it = { total = 0, before = 0, added = 0 }
  local newest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  if newest[1] then
    it.total = parse_entry(key, newest[1])
    it.before, it.newest_at = it.total, tonumber(newest[2])
    local oldest = redis.call('ZRANGEBYSCORE', key, '(' .. (now - window_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if oldest[1] then
      it.oldest, it.oldest_at = oldest[1], tonumber(oldest[2])
      it.oldest_total, it.oldest_units = parse_entry(key, it.oldest)
      it.before = it.oldest_total - it.oldest_units
    end
  end
  live[key] = it
  return it
end

-- When the running total reached `total`: the entry that must leave the window before there is room.
local function reached_at(key, it, total)
  if not it.oldest or total > it.total - it.added then
    return now
  end
  if it.oldest_total >= total then
    return it.oldest_at
  end
  local low, high = redis.call('ZRANK', key, it.oldest), redis.call('ZCARD', key) - 1
  while low + 1 < high do
    local middle = math.floor((low + high) / 2)
    local member = redis.call('ZRANGE', key, middle, middle)[1]
    if parse_entry(key, member) >= total then
      high = middle
    else
      low = middle
    end
  end
  return tonumber(redis.call('ZRANGE', key, high, high, 'WITHSCORES')[2])
end

local function encode_window(key, it)
  queued[#queued + 1] = { 'ZREMRANGEBYSCORE', key, '-inf', now - it.window_ms }
  queued[#queued + 1] = { 'ZADD', key, math.max(now, it.newest_at or 0), ('%016d:%d'):format(it.total, it.added) }
  queued[#queued + 1] = { 'PEXPIRE', key, it.window_ms }
end

-- Admits `cost` units if they fit. Answers whether, what remains, and the two waits.
local function admit(key, cost, limit, window_ms)
  local it = open_window(key, window_ms)
  local used = it.total - it.before
  if used + cost > limit then
    local retry_after_ms = reached_at(key, it, it.total + cost - limit) + window_ms - now
    local newest_at = it.added > 0 and now or it.newest_at
    return false, math.max(limit - used, 0), retry_after_ms, newest_at + window_ms - now
  end
  it.total, it.added, it.window_ms = it.total + cost, it.added + cost, window_ms
  change(key, encode_window)
  return true, limit - used - cost, 0, window_ms
end
