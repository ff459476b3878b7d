--- @export concurrency

-- Leases are a sorted set scored by the instant at which each ends by itself. A member is the id of a lease, which
-- names its units after an `x`. The record beside it has the units of all leases and the instant at which the
-- first of them ends, so most calls read no lease.
local LAYOUT = '<Bdd'
local CODE = 5
local MAX_SAFE_INTEGER = 9007199254740991

-- Returns the functions of this algorithm: open, free, wait, take, release, end_all. `lib/limit.lua` says what they do.
function concurrency()
  local function units_of(key, lease_id)
    return tonumber(lease_id:match('x(%d+)$')) or fail_corrupt(key, 'leases')
  end

  local function encode(_, leases)
    local added, last_end = leases.added, leases.last_end
    for i = 1, #leases.ended, 1000 do
      remove_first_members(leases.log_key, { unpack(leases.ended, i, math.min(i + 999, #leases.ended)) })
    end
    for lease_id, ends_at in pairs(leases.released) do
      remove_member(leases.log_key, ends_at, lease_id)
    end
    for i = 1, #added do
      add_member(leases.log_key, leases.ends_at, added[i])
    end
    -- Also where leases only go: if that is undone, the set is made anew and needs its end again.
    local expiry = { 'PEXPIRE', leases.log_key, math.max(last_end - now, 1) }
    queue_addition(expiry, expiry)
    return struct.pack(LAYOUT, CODE, leases.used, leases.next_end), math.max(last_end - now, 1)
  end

  local function decode(key, text)
    if #text ~= 17 then
      fail_corrupt(key, 'leases')
    end
    local _, used, next_end = struct.unpack(LAYOUT, text)
    -- A number that is none fails every comparison.
    if not (used >= 0 and used <= MAX_SAFE_INTEGER and next_end >= 0 and next_end <= MAX_SAFE_INTEGER) then
      fail_corrupt(key, 'leases')
    end
    return { used = used, next_end = next_end }
  end

  -- Has each member of the set removed.
  local function release_all(leases)
    local members = redis.call('ZRANGE', leases.log_key, 0, -1, 'WITHSCORES')
    for i = 1, #members, 2 do
      leases.released[members[i]] = members[i + 1]
    end
  end

  local function open(leases, rule)
    leases.limit, leases.ttl_ms, leases.at = rule.limit, rule.a, now
    if leases.ended then
      return
    end
    leases.ended, leases.added, leases.released, leases.last_end, leases.added_units = {}, {}, {}, 0, 0
    if not leases.used then
      -- Without a record, what the set holds is from before the policy had another algorithm.
      leases.used, leases.next_end = 0, 0
      release_all(leases)
    end
    if leases.next_end ~= 0 and leases.next_end <= now then
      leases.ended = redis.call('ZRANGEBYSCORE', leases.log_key, '-inf', now, 'WITHSCORES')
      for i = 1, #leases.ended, 2 do
        leases.used = leases.used - units_of(leases.log_key, leases.ended[i])
      end
      leases.next_end = tonumber(redis.call('ZRANGEBYSCORE', leases.log_key, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2] or 0)
    end
  end

  local function free(leases)
    return leases.limit - leases.used - leases.pending
  end

  -- Leases that were given in this script are in no set yet. All of them end at the same instant.
  local function wait(leases, cost)
    local excess = leases.used + leases.pending + cost - leases.limit
    local added_end, added_units = now + leases.ttl_ms, leases.added_units
    local passed, ends_at = 0, now
    while excess > 0 do
      local members = redis.call('ZRANGEBYSCORE', leases.log_key, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', passed, 100)
      for i = 1, #members, 2 do
        local score = tonumber(members[i + 1])
        if excess > 0 and added_units > 0 and score > added_end then
          excess, ends_at, added_units = excess - added_units, added_end, 0
        end
        if excess > 0 and not leases.released[members[i]] then
          excess, ends_at = excess - units_of(leases.log_key, members[i]), score
        end
      end
      passed = passed + 100
      if excess > 0 and #members < 200 then
        return added_end - now
      end
    end
    return ends_at - now
  end

  -- Returns the instant at which the last lease ends, by which both keys end.
  local function read_last_end(leases)
    local last = redis.call('ZRANGE', leases.log_key, -1, -1, 'WITHSCORES')
    return math.max(leases.last_end, tonumber(last[2] or 0))
  end

  local function take(leases, cost, lease_id)
    leases.ends_at = now + leases.ttl_ms
    leases.used, leases.added_units, leases.added[#leases.added + 1] = leases.used + cost, leases.added_units + cost, lease_id
    leases.last_end = math.max(read_last_end(leases), leases.ends_at)
    if leases.next_end == 0 or leases.ends_at < leases.next_end then
      leases.next_end = leases.ends_at
    end
    return encode
  end

  -- Ends a lease before its time. Returns its units, or nil where there is no such lease.
  local function release(leases, lease_id)
    local ends_at = not leases.released[lease_id] and redis.call('ZSCORE', leases.log_key, lease_id)
    if not ends_at or tonumber(ends_at) <= now then
      return nil
    end
    local units = units_of(leases.log_key, lease_id)
    leases.released[lease_id], leases.used = ends_at, leases.used - units
    leases.last_end = read_last_end(leases)
    return units, encode
  end

  -- Ends all leases, those that this script has given among them.
  local function end_all(leases)
    leases.last_end = read_last_end(leases)
    leases.ended, leases.released, leases.added = {}, {}, {}
    leases.used, leases.added_units, leases.next_end = 0, 0, 0
    release_all(leases)
    return encode
  end

  return {
    decode = decode, open = open, free = free, wait = wait, take = take, release = release, end_all = end_all,
  }
end
