--[[
Give a counter a value, if it has the one that is expected.

KEYS
  counter_key     counter

ARGV
  counter_name    id
  value           whole number
  if_value        whole number, or nothing where any will do

REPLY
  ok              counter value previous
  value_mismatch  counter value:json expected:json
]]
--- @include "lib/counter"

local counter_key = unpack(keys)
local counter_name, value, if_value = unpack(args)

local it = counter(counter_key)
local previous = it.value
if if_value ~= '' and previous ~= tonumber(if_value) then
  return { 'value_mismatch', counter_name, exact(previous), if_value }
end
write_counter(counter_key, it, tonumber(value))

return { 'ok', counter_name, exact(it.value), exact(previous) }
