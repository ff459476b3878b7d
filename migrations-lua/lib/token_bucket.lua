-- A bucket counts in parts of a token, so small that one millisecond refills a whole number of them:
-- `per_token` parts are a token, `per_ms` parts come back each millisecond. No fraction is ever lost.
local BUCKET = '^{"level":(%d+),"per_token":(%d+),"at":(%d+)}$'

-- The least whole n with n * by >= amount; a plain division could round the other way.
local function divide_up(amount, by)
  local rest = math.fmod(amount, by)
  return (amount - rest) / by + (rest > 0 and 1 or 0)
end

local function encode_bucket(_, it)
  local text = ('{"level":%d,"per_token":%d,"at":%d}'):format(it.level, it.per_token, it.at)
  -- A bucket that is full again is as good as one that never was.
  return text, math.max(divide_up(it.full - it.level, it.per_ms), 1)
end

-- Takes `cost` tokens if they are there. Answers whether, what remains, and the two waits.
local function take_tokens(key, cost, capacity, per_token, per_ms)
  local full = capacity * per_token
  local it = live[key]
  if not it then
    local text = stored(key)
    if text then
      local level, parts, at = text:match(BUCKET)
      if not level or #level > 16 or #parts > 16 or #at > 16 or parts == '0' then
        broken(key, 'a bucket')
      end
      it = { level = tonumber(level), per_token = tonumber(parts), at = tonumber(at) }
    else
      it = { level = full, per_token = per_token, at = now }
    end
    live[key] = it
  end

  local level = it.level
  if it.per_token ~= per_token then
    -- The rule has changed: whole tokens are kept.
    level = math.floor(level / it.per_token) * per_token
  end
  level = math.min(level + math.max(now - it.at, 0) * per_ms, full)
  local missing = cost * per_token - level
  if missing > 0 then
    return false, math.floor(level / per_token), divide_up(missing, per_ms), divide_up(full - level, per_ms)
  end
  -- Should the clock step back, what was refilled once is not refilled again.
  it.level, it.per_token, it.per_ms, it.full, it.at = level - cost * per_token, per_token, per_ms, full, math.max(it.at, now)
  change(key, encode_bucket)
  return true, math.floor(it.level / per_token), 0, divide_up(full - it.level, per_ms)
end
