--[[
Change several counters, all of them or each for itself.

KEYS
  * counter_key           counter

ARGV
  atomic                  whether one refusal is a refusal of all: true or false
  * counter_name          id
  * action                incr, decr or set
  * value                 whole number

REPLY
  ok                      results:json
  counter_below_minimum   counter value:json min:json operation_index
  counter_out_of_range    counter value:json operation_index
]]
--- @include "lib/counter"

local atomic = unpack(args)

-- What one of the operations makes of a counter, or why it makes nothing of it.
local function outcome(name, action, value, previous)
  if action == 'set' then
    return value
  end
  local wanted = action == 'incr' and previous + value or previous - value
  if action == 'decr' and wanted < 0 then
    return nil, { 'counter_below_minimum', name, exact(previous), '0' }
  end
  local far = out_of_range(name, previous, wanted)
  return not far and wanted, far
end

-- First the plan: nothing is changed before the last of them is known to be right.
local planned, lines = {}, {}
for i = 1, #keys do
  local counter_key = unpack(keys, i)
  local counter_name, action, value = unpack(args, 3 * i - 1)
  -- A record that is none of ours concerns the others only if they are to stand or fall together.
  local fine, it = pcall(counter, counter_key)
  if not fine and atomic == 'true' then
    error(it, 0)
  end
  local line, refusal
  if fine then
    local previous = planned[counter_key] or it.value
    line, refusal = outcome(counter_name, action, tonumber(value), previous)
    if refusal and atomic == 'true' then
      refusal[#refusal + 1] = i - 1
      return refusal
    end
    if line then
      planned[counter_key] = line
      lines[i] = ('{"counter":"%s","value":%d,"previous":%d}'):format(counter_name, line, previous)
    end
  end
  lines[i] = lines[i] or ('{"counter":"%s","code":"%s"}'):format(counter_name, refusal and refusal[1] or 'internal_error')
end
for counter_key, value in pairs(planned) do
  write_counter(counter_key, live[counter_key], value)
end

return { 'ok', '[' .. table.concat(lines, ',') .. ']' }
