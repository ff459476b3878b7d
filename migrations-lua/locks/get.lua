--[[
Returns the holders of a lock and its last fencing token.

READ ONLY

KEYS
  lock_key   record  lock

ARGV
  lock_name        id

REPLY
  ok               lock held holders:json last_fencing_token
]]
--- @include "lib/lock"

local lock = open_lock(lock_key)
local last = lock.last_fencing_token > 0 and ('%d'):format(lock.last_fencing_token)

return { 'ok', lock_name, is_held(lock) and 'true' or 'false', holders_json(lock), last }
