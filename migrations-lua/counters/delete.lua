--[[
Remove a counter.

KEYS
  counter_key     counter

ARGV
  counter_name    id

REPLY
  ok              counter deleted previous
]]
--- @include "lib/counter"

local counter_key = unpack(keys)
local counter_name = unpack(args)

local it = counter(counter_key)
local existed, previous = it.exists, it.value
it.value, it.expires_at, it.exists = 0, 0, false
change(counter_key, encode_counter)

return { 'ok', counter_name, existed and 'true' or 'false', exact(previous) }
