--[[
Sets a counter, if it has the expected value.

KEYS
  counter_key     record  counter

ARGV
  counter_name    id
  value           whole number
  if_value        whole number, or nothing where any will do

REPLY
  ok              counter value previous
  value_mismatch  counter value:json expected:json
]]
--- @include "lib/counter"

local counter = open_counter(counter_key)
local previous = counter.value
if if_value ~= '' and previous ~= tonumber(if_value) then
  return { 'value_mismatch', counter_name, exact(previous), if_value }
end
write_counter(counter_key, counter, tonumber(value))

return { 'ok', counter_name, exact(counter.value), exact(previous) }
