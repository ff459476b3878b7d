--[[
Returns the value of a counter.

READ ONLY

KEYS
  counter_key   record  counter

ARGV
  counter_name    id

REPLY
  ok              counter value exists expires_at:instant
]]
--- @include "lib/counter"

local counter = open_counter(counter_key)

return { 'ok', counter_name, exact(counter.value), counter.exists and 'true' or 'false', counter.expires_at > 0 and counter.expires_at }
