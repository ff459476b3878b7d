--[[
Runs an operation if each of the locks that its caller names is held by the lease with the fencing token that the
caller names. Its keys are those of the locks, and then those of the operation.

INTERNAL
RUNS ONE OPERATION

ARGV
  guard_count          how many locks there are
  * lock_name          of each
  * fencing_token      of each
  * name               of the operation
  * key_count          how many keys it has
  * arg_count          how many arguments it has, which follow

REPLY
  ok
  stale_fencing_token  lock fencing_token last_fencing_token
  lock_not_held        lock fencing_token
]]
--- @include "lib/lock"
--- @include "lib/lock_guard"

local guards = tonumber(guard_count)
local key, arg = first_key, first_arg + 1
for i = 1, guards do
  local lock_name, fencing_token = ARGV[arg + 2 * i - 1], ARGV[arg + 2 * i]
  local lock = open_lock(KEYS[key + i])
  if #lock.leases == 0 then
    return { 'lock_not_held', lock_name, tonumber(fencing_token) }
  end
  if not lease_with_token(lock, fencing_token) then
    return stale_token(lock, lock_name, fencing_token)
  end
end
key, arg = key + guards, arg + 2 * guards
return run_operation(ARGV[arg + 1], key, tonumber(ARGV[arg + 2]), arg + 3, tonumber(ARGV[arg + 3]))
