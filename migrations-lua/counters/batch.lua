--[[
Changes several counters, all of them or each on its own.

KEYS
  * counter_key          record  counter

ARGV
  atomic                  true to refuse all where one is refused, or false
  * counter_name          id
  * action                incr, decr or set
  * value                 whole number

REPLY
  ok                      results:json
  counter_below_minimum   counter value:json min:json operation_index
  counter_out_of_range    counter value:json operation_index
]]
--- @include "lib/counter"

-- Returns the value that one operation gives a counter; or nil or false, and the refusal.
local function value_after(name, action, value, previous)
  if action == 'set' then
    return value
  end
  local wanted = action == 'incr' and previous + value or previous - value
  if action == 'decr' and wanted < 0 then
    return nil, { 'counter_below_minimum', name, exact(previous), '0' }
  end
  local out_of_range = check_range(name, previous, wanted)
  return not out_of_range and wanted, out_of_range
end

-- All operations are planned before any counter changes.
local planned, lines = {}, {}
for i = 1, line_count() do
  local counter_key = keys_of_line(i)
  local counter_name, action, value = args_of_line(i)
  -- A corrupt record fails the other operations only if all are to happen or none.
  local fine, counter = pcall(open_counter, counter_key)
  if not fine and atomic == 'true' then
    error(counter, 0)
  end
  local new_value, refusal
  if fine then
    local previous = planned[counter_key] or counter.value
    new_value, refusal = value_after(counter_name, action, tonumber(value), previous)
    if refusal and atomic == 'true' then
      refusal[#refusal + 1] = i - 1
      return refusal
    end
    if new_value then
      planned[counter_key] = new_value
      lines[i] = ('{"counter":"%s","value":%d,"previous":%d}'):format(counter_name, new_value, previous)
    end
  end
  lines[i] = lines[i] or ('{"counter":"%s","code":"%s"}'):format(counter_name, refusal and refusal[1] or 'internal_error')
end
for counter_key, value in pairs(planned) do
  write_counter(counter_key, open_records[counter_key], value)
end

return { 'ok', '[' .. table.concat(lines, ',') .. ']' }
