--[[
Checks that a fencing token is that of a lease that holds the lock now.

READ ONLY

KEYS
  lock_key             record  lock

ARGV
  lock_name            id
  fencing_token        a whole number

REPLY
  ok                   lock fencing_token valid expires_at:instant expires_in_ms
  stale_fencing_token  lock fencing_token last_fencing_token
]]
--- @include "lib/lock"
--- @include "lib/lock_guard"

local lock = open_lock(lock_key)
local lease = lease_with_token(lock, fencing_token)
if not lease then
  return stale_token(lock, lock_name, fencing_token)
end
return { 'ok', lock_name, tonumber(fencing_token), 'true', lease.expires_at, lease.expires_at - now }
