-- Holds that have ended are taken back by the next call that opens their account or product.
--- @export expired_members, first_expiry_after_now

-- The most ended holds that one step takes back; it takes Redis a millisecond or two.
local MAX_EXPIRED_AT_ONCE = 1000

-- Returns the members of a sorted set whose time is up, each with its score after it, and true if there are
-- more than one step takes back.
--- @lazy
function expired_members(key)
  local members = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, MAX_EXPIRED_AT_ONCE + 1)
  local more = #members > 2 * MAX_EXPIRED_AT_ONCE
  if more then
    members[#members], members[#members - 1] = nil, nil
  end
  return members, more
end

-- Returns the earliest score that is still to come, or 0 where there is none.
--- @lazy
function first_expiry_after_now(key)
  local first = redis.call('ZRANGEBYSCORE', key, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return tonumber(first[2] or 0)
end
