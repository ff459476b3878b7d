--- @export take_tokens

-- A bucket counts in parts of a token, so small that one millisecond refills a whole number of them:
-- `per_token` parts are a token, `per_ms` parts come back each millisecond. No fraction is ever lost.
-- Its record is packed: its version byte, the parts that are there, the parts of a token, and the instant of both.
local BUCKET = '<Bddd'
local LENGTH = 25
local MAX_SAFE_INTEGER = 9007199254740991

-- Returns the least whole n with n * by >= amount. A plain division could round the other way.
local function divide_up(amount, by)
  local rest = math.fmod(amount, by)
  return (amount - rest) / by + (rest > 0 and 1 or 0)
end

local function encode_bucket(_, bucket)
  -- A bucket that is full again is as good as one that never was.
  return struct.pack(BUCKET, 1, bucket.level, bucket.per_token, bucket.at),
    math.max(divide_up(bucket.full - bucket.level, bucket.per_ms) + bucket.at - now, 1)
end

local function decode_bucket(key, text)
  local layout_byte, level, per_token, at
  if #text == LENGTH then
    layout_byte, level, per_token, at = struct.unpack(BUCKET, text)
  end
  -- A number that is none fails every comparison.
  local is_bucket = layout_byte == 1 and level >= 0 and level <= MAX_SAFE_INTEGER and per_token >= 1
    and per_token <= MAX_SAFE_INTEGER and at >= 0 and at <= MAX_SAFE_INTEGER
  if not is_bucket then
    fail_corrupt(key, 'a bucket')
  end
  return { level = level, per_token = per_token, at = at, per_ms = 0, full = 0 }
end

-- Takes `cost` tokens if they are there. Returns whether they are, what remains, and in how many
-- milliseconds there are `cost` tokens and all.
function take_tokens(key, cost, capacity, per_token, per_ms)
  local full = capacity * per_token
  local bucket = open_record(key, decode_bucket)
  if not bucket then
    bucket = { level = full, per_token = per_token, at = now, per_ms = per_ms, full = full }
    open_records[key] = bucket
  end

  local level = bucket.level
  if bucket.per_token ~= per_token then
    -- The rule has changed: whole tokens are kept.
    level = math.floor(level / bucket.per_token) * per_token
  end
  level = math.min(level + math.max(now - bucket.at, 0) * per_ms, full)
  local missing = cost * per_token - level
  -- Should the clock step back, what was refilled once is not refilled again: nothing is until it is there again.
  local behind = math.max(bucket.at - now, 0)
  if missing > 0 then
    return false, math.floor(level / per_token), divide_up(missing, per_ms) + behind, divide_up(full - level, per_ms) + behind
  end
  bucket.level, bucket.per_token, bucket.per_ms = level - cost * per_token, per_token, per_ms
  bucket.full, bucket.at = full, math.max(bucket.at, now)
  mark_dirty(key, encode_bucket)
  return true, math.floor(bucket.level / per_token), 0, divide_up(full - bucket.level, per_ms) + behind
end
