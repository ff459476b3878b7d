--[[
Tell how far a counter has come.

READ ONLY

KEYS
  counter_key     counter

ARGV
  counter_name    id

REPLY
  ok              counter value exists expires_at:instant
]]
--- @include "lib/counter"

local counter_key = unpack(keys)
local counter_name = unpack(args)

local it = counter(counter_key)

return { 'ok', counter_name, exact(it.value), it.exists and 'true' or 'false', it.expires_at > 0 and it.expires_at }
