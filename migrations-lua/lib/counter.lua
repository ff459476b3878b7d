--- @export open_counter, encode_counter, write_counter, exact, check_range, step_counter

-- The record of a counter. `expires_at` is 0 where it has no end.
local COUNTER = '^{"value":(%-?%d+),"expires_at":(%d+)}$'

-- The largest distance from zero that a double counts exactly: 2^53 - 1.
local MAX_SAFE_INTEGER = 9007199254740991

-- Returns the text of a counter and its time to live, or has its record deleted.
function encode_counter(key, counter)
  if not counter.exists then
    delete_record(key)
    return nil
  end
  local text = ('{"value":%d,"expires_at":%d}'):format(counter.value, counter.expires_at)
  if counter.expires_at > 0 then
    return text, counter.expires_at - now
  end
  -- A record that has had an end loses it.
  return text, counter.had_end and 0 or nil
end

local function decode_counter(key, text)
  local value, expires_at = text:match(COUNTER)
  value, expires_at = tonumber(value), tonumber(expires_at)
  if not value or math.abs(value) > MAX_SAFE_INTEGER then
    fail_corrupt(key, 'a counter')
  end
  if expires_at == 0 or expires_at > now then
    return { value = value, expires_at = expires_at, exists = true, had_end = expires_at > 0 }
  end
  return { value = 0, expires_at = 0, exists = false, had_end = true }
end

-- Returns the counter under a key. One that was never touched, or whose end has come, is 0 and does not exist.
function open_counter(key)
  local counter = open_record(key, decode_counter)
  if not counter then
    counter = { value = 0, expires_at = 0, exists = false }
    open_records[key] = counter
  end
  return counter
end

-- Returns a whole number as text. As a number it would lose digits beyond 10^14 on its way.
function exact(number)
  return ('%d'):format(number)
end

-- Gives a counter a value and has it written.
function write_counter(key, counter, value)
  counter.value, counter.exists = value, true
  mark_dirty(key, encode_counter)
end

-- Refuses a value that a counter cannot have, and returns nil for one that it can.
function check_range(counter_name, previous, value)
  if math.abs(value) > MAX_SAFE_INTEGER then
    return { 'counter_out_of_range', counter_name, exact(previous), replayable = false }
  end
end

-- Moves a counter by `by`, downwards where that is below zero, and not past `bound`, which is nil only for a step upwards.
-- `bound_code` is the problem code of passing it. Returns the reply.
function step_counter(key, name, by, bound, bound_code, initial, ttl_ms, ttl_mode, on_bound)
  local counter = open_counter(key)
  local previous = counter.exists and counter.value or tonumber(initial)
  local value = previous + by
  if not bound and on_bound == 'saturate' then
    bound = MAX_SAFE_INTEGER
  end
  local passes = bound and (by > 0 and value > bound or by < 0 and value < bound)
  local begins_beyond = passes and not counter.exists and (by > 0 and previous > bound or by < 0 and previous < bound)
  if begins_beyond or passes and on_bound == 'reject' then
    return { bound_code, name, exact(previous), exact(bound) }
  end
  if passes then
    -- The counter goes to the bound, and never back to it.
    value = by > 0 and math.max(previous, bound) or math.min(previous, bound)
  end
  local refusal = check_range(name, previous, value)
  if refusal then
    return refusal
  end
  -- A new counter that begins at its bound exists from now on, at its initial value.
  if value ~= previous or not counter.exists and value ~= 0 then
    if ttl_ms ~= '' and (ttl_mode == 'refresh' or not counter.exists or ttl_mode == 'if_none' and counter.expires_at == 0) then
      counter.expires_at = now + ttl_ms
    end
    write_counter(key, counter, value)
  end
  return { 'ok', name, exact(value), exact(previous) }
end
