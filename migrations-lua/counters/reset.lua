--[[
Sets a counter back, and returns the value that it had.

KEYS
  counter_key   record  counter

ARGV
  counter_name    id
  value           whole number to begin with

REPLY
  ok              counter value previous
]]
--- @include "lib/counter"

local counter = open_counter(counter_key)
local previous = counter.value
write_counter(counter_key, counter, tonumber(value))

return { 'ok', counter_name, exact(counter.value), exact(previous) }
