--[[
Tell who holds a lock, and its last fencing token.

READ ONLY

KEYS
  lock_key         lock

ARGV
  lock_name        id

REPLY
  ok               lock held holders:json last_fencing_token
]]
--- @include "lib/lock"

local lock_key = unpack(keys)
local lock_name = unpack(args)

local it = lock(lock_key)
local last = it.last_fencing_token > 0 and ('%d'):format(it.last_fencing_token)

return { 'ok', lock_name, is_held(it) and 'true' or 'false', holders_of(it), last }
