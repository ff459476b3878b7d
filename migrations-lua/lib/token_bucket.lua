--- @export token_bucket

-- A bucket counts in parts of a token, so small that one millisecond refills a whole number of them:
-- `per_token` parts are a token, `per_ms` parts come back each millisecond. No fraction is ever lost.
-- The record has the instant of the last take, the level after it, and the parts of a token at that time.
local LAYOUT = '<Bddd'
local CODE = 1
local MAX_SAFE_INTEGER = 9007199254740991

-- Returns the functions of this algorithm: open, free, wait, take, give_back. `lib/limit.lua` says what they do.
function token_bucket()
  -- Returns the least whole n with n * by >= amount. A plain division could round the other way.
  local function divide_up(amount, by)
    local rest = math.fmod(amount, by)
    return (amount - rest) / by + (rest > 0 and 1 or 0)
  end

  local function encode(_, bucket)
    local text = struct.pack(LAYOUT, CODE, bucket.at, bucket.level, bucket.per_token)
    -- A bucket that is full again is as good as one that never was.
    return text, math.max(divide_up(bucket.full - bucket.level, bucket.per_ms) + bucket.at - now, 1), true
  end

  -- A bucket that was made whole remembers when, until it would have become so by itself.
  local function encode_given_back(_, bucket)
    local text = encode(_, bucket)
    return text, divide_up(bucket.full, bucket.per_ms) + bucket.at - now, true
  end

  local function decode(key, text)
    local at, level, parts, _ = -1, -1, 0, nil
    if #text == 25 then
      _, at, level, parts = struct.unpack(LAYOUT, text)
    end
    -- A number that is none fails every comparison.
    local is_bucket = at >= 0 and at <= MAX_SAFE_INTEGER and level >= 0 and level <= MAX_SAFE_INTEGER and parts >= 1
      and parts <= MAX_SAFE_INTEGER
    if not is_bucket then
      fail_corrupt(key, 'a bucket')
    end
    -- With the members that come later, so that the table is allocated once.
    return { at = at, level = level, per_token = parts, per_ms = 0, full = 0, pending = 0, log_key = '' }
  end

  local function open(bucket, rule)
    local per_token, full = rule.a, rule.limit * rule.a
    if not bucket.level then
      bucket.at, bucket.level, bucket.per_token = now, full, per_token
    elseif bucket.per_token ~= per_token then
      -- The rule has changed: whole tokens are kept.
      bucket.level = math.floor(bucket.level / bucket.per_token) * per_token
      bucket.per_token = per_token
    end
    bucket.per_ms, bucket.full = rule.b, full
    if now > bucket.at then
      bucket.level, bucket.at = bucket.level + (now - bucket.at) * rule.b, now
    end
    bucket.level = math.min(bucket.level, full)
  end

  local function free(bucket)
    return math.floor(bucket.level / bucket.per_token) - bucket.pending
  end

  local function wait(bucket, cost)
    local missing = (cost + bucket.pending) * bucket.per_token - bucket.level
    return missing > 0 and divide_up(missing, bucket.per_ms) or 0
  end

  local function take(bucket, cost)
    bucket.level = bucket.level - cost * bucket.per_token
    return encode
  end

  local function give_back(bucket, cost)
    local level = math.min(bucket.level + cost * bucket.per_token, bucket.full)
    -- A bucket that is full before the last token is back as a whole has taken that token all the same.
    local returned = divide_up(level - bucket.level, bucket.per_token)
    bucket.level = level
    return returned, encode_given_back
  end

  return { name = 'token_bucket', decode = decode, open = open, free = free, wait = wait, take = take, give_back = give_back }
end
