--- @export sliding_window

-- The exact log of a window: a sorted set scored by the instant of each admission. A member is
-- `total:units`, the running total after the admission and its own units, so the units within any stretch of
-- time are the difference of two totals. The total is padded, so that members sort as numbers.
local ENTRY = '^(%d+):(%d+)$'

-- Returns the functions of this algorithm: open, free, wait, take, give_back. `lib/limit.lua` says what they do.
function sliding_window()
  local function parse_entry(key, member)
    local running, units = member:match(ENTRY)
    if not running or #running ~= 16 or #units > 5 then
      fail_corrupt(key, 'a window')
    end
    return tonumber(running), tonumber(units)
  end

  local function encode(state_key, window)
    local key = window.log_key
    if window.leases then
      delete_record(state_key)
      for i = 1, #window.leases, 2 do
        remove_member(key, window.leases[i + 1], window.leases[i])
      end
    end
    for i = 1, window.dropped do
      remove_member(key, window.tail[i].score, window.tail[i].member)
    end
    local kept = window.tail[window.dropped]
    if kept and kept.units > 0 then
      add_member(key, kept.score, ('%016d:%d'):format(window.total - window.added, kept.units))
    end
    if window.added > 0 then
      add_member(key, window.at, ('%016d:%d'):format(window.total, window.added))
      -- Not after a refund alone: should the clock step back, what has left the window would count again.
      queue_cleanup('ZREMRANGEBYSCORE', key, '-inf', window.at - window.length)
    end
    local expiry = { 'PEXPIRE', key, window.at + window.length - now }
    queue_addition(expiry, expiry)
  end

  local function open(window, rule)
    window.limit, window.length = rule.limit, rule.a
    if window.total then
      return
    end
    local key = window.log_key
    window.total, window.before, window.added, window.at = 0, 0, 0, now
    window.tail, window.dropped = {}, 0
    local newest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
    if newest[1] and newest[1]:find('^lease_') then
      -- The policy was a limit of leases before. They go when units are taken.
      window.leases = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    elseif newest[1] then
      window.total = parse_entry(key, newest[1])
      window.before, window.newest_at = window.total, tonumber(newest[2])
      window.at = math.max(now, window.newest_at)
      local oldest = redis.call('ZRANGEBYSCORE', key, '(' .. (window.at - window.length), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
      if oldest[1] then
        window.oldest, window.oldest_at = oldest[1], tonumber(oldest[2])
        window.oldest_total, window.oldest_units = parse_entry(key, window.oldest)
        window.before = window.oldest_total - window.oldest_units
      end
    end
  end

  local function free(window)
    return window.limit - (window.total - window.before) - window.pending
  end

  -- Returns the instant at which the running total reached `goal`: that of the entry which must leave the
  -- window before there is room.
  local function reached_at(window, goal)
    local key = window.log_key
    if not window.oldest or goal > window.total - window.added then
      return window.at
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

  local function wait(window, cost)
    local used = window.total - window.before
    if used + window.pending + cost <= window.limit then
      return 0
    end
    return reached_at(window, window.total + window.pending + cost - window.limit) + window.length - window.at
  end

  local function take(window, cost)
    window.total, window.added = window.total + cost, window.added + cost
    return encode
  end

  -- The newest units are given back first: they would have counted longest.
  local function give_back(window, cost)
    local returned = math.min(cost, window.total - window.before)
    local left = returned - math.min(returned, window.added)
    window.added, window.total = window.added - (returned - left), window.total - returned
    while left > 0 do
      local entry = window.tail[window.dropped]
      if not entry or entry.units == 0 then
        window.dropped = window.dropped + 1
        local found = redis.call('ZRANGE', window.log_key, -window.dropped, -window.dropped, 'WITHSCORES')
        local _, units = parse_entry(window.log_key, found[1])
        entry = { member = found[1], score = tonumber(found[2]), units = units }
        window.tail[window.dropped] = entry
      end
      local given = math.min(left, entry.units)
      entry.units, left = entry.units - given, left - given
    end
    return returned, encode
  end

  return { name = 'sliding_window', open = open, free = free, wait = wait, take = take, give_back = give_back }
end
