--[[
Deletes a counter.

KEYS
  counter_key   record  counter

ARGV
  counter_name    id

REPLY
  ok              counter deleted previous
]]
--- @include "lib/counter"

local counter = open_counter(counter_key)
local existed, previous = counter.exists, counter.value
counter.value, counter.expires_at, counter.exists = 0, 0, false
mark_dirty(counter_key, encode_counter)

return { 'ok', counter_name, existed and 'true' or 'false', exact(previous) }
