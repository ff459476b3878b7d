--[[
Begin anew, and tell how far it had come.

KEYS
  counter_key     counter

ARGV
  counter_name    id
  value           whole number to begin with

REPLY
  ok              counter value previous
]]
--- @include "lib/counter"

local counter_key = unpack(keys)
local counter_name, value = unpack(args)

local it = counter(counter_key)
local previous = it.value
write_counter(counter_key, it, tonumber(value))

return { 'ok', counter_name, exact(it.value), exact(previous) }
