-- A counter as it is kept; `expires_at` is 0 where it has no end.
local COUNTER = '^{"value":(%-?%d+),"expires_at":(%d+)}$'

-- The farthest from zero that a double counts exactly.
local FARTHEST = 9007199254740991

local function encode_counter(key, it)
  if not it.exists then
    queued[#queued + 1] = { 'DEL', key }
    return nil
  end
  local text = ('{"value":%d,"expires_at":%d}'):format(it.value, it.expires_at)
  if it.expires_at > 0 then
    return text, it.expires_at - now
  end
  return text
end

-- The counter under a key; one that nobody has touched, or whose end has come, is 0 and not there.
local function counter(key)
  local it = live[key]
  if it then
    return it
  end
  it = { value = 0, expires_at = 0, exists = false }
  local text = stored(key)
  if text then
    local value, expires_at = text:match(COUNTER)
    value, expires_at = tonumber(value), tonumber(expires_at)
    if not value or math.abs(value) > FARTHEST then
      broken(key, 'a counter')
    end
    if expires_at == 0 or expires_at > now then
      it.value, it.expires_at, it.exists = value, expires_at, true
    end
  end
  live[key] = it
  return it
end

-- Numbers travel as text: what turns them into text on the way loses digits beyond 10^14.
local function exact(number)
  return ('%d'):format(number)
end

local function write_counter(key, it, value)
  it.value, it.exists = value, true
  change(key, encode_counter)
end

-- Why a counter cannot have a value, or nil where it can.
local function out_of_range(counter_name, previous, value)
  if math.abs(value) > FARTHEST then
    return { 'counter_out_of_range', counter_name, exact(previous), forget = true }
  end
end

-- Moves a counter by `by`, down where that is below zero, and not past `bound` where there is one;
-- `refusal` is what there is to say where that would be passed. Answers the reply.
local function count(key, name, by, bound, refusal, initial, ttl_ms, ttl_mode, on_bound)
  local it = counter(key)
  local previous = it.exists and it.value or tonumber(initial)
  local value = previous + by
  if not bound and on_bound == 'saturate' then
    bound = by > 0 and FARTHEST or -FARTHEST
  end
  local passes = bound and (by > 0 and value > bound or by < 0 and value < bound)
  local begins_beyond = passes and not it.exists and (by > 0 and previous > bound or by < 0 and previous < bound)
  if begins_beyond or passes and on_bound == 'reject' then
    return { refusal, name, exact(previous), exact(bound) }
  end
  if passes then
    -- As far as it goes, and never back.
    value = by > 0 and math.max(previous, bound) or math.min(previous, bound)
  end
  local far = out_of_range(name, previous, value)
  if far then
    return far
  end
  -- A new counter that begins at its bound is there from now on, as far as it was to count from.
  if value ~= previous or not it.exists and value ~= 0 then
    if ttl_ms ~= '' and (ttl_mode == 'refresh' or not it.exists or ttl_mode == 'if_none' and it.expires_at == 0) then
      it.expires_at = now + ttl_ms
    end
    write_counter(key, it, value)
  end
  return { 'ok', name, exact(value), exact(previous) }
end
