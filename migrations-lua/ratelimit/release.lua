--[[
Gives a lease of a concurrency limit back before its time.

KEYS
  state_key        record  units of all leases
  log_key          zset    leases
  * policy_key     record  policy, if the call names one

ARGV
  key              text
  lease_id         id
  policy           id, or nothing for a rule of its own
  code             of the algorithm; this and the next four only of a rule of its own
  limit            the most units at once
  a                first number of the rule
  b                second number of the rule
  window_ms        how long a limit that was used up takes to be whole again

REPLY
  ok                  limit remaining
  policy_not_found    policy
  algorithm_mismatch  algorithm
  lease_not_found     key lease_id
]]
--- @include "lib/limit"
--- @include "lib/policy"

local rule = policy_rule(policy, keys_of_line(1), code, limit, a, b, window_ms)
if not rule then
  return { 'policy_not_found', policy }
end
local state, algorithm = open_limit(rule, state_key, log_key)
if not algorithm.release then
  return { 'algorithm_mismatch', algorithm.name }
end
local units, encode = algorithm.release(state, lease_id)
if not units then
  return { 'lease_not_found', key, lease_id }
end
mark_dirty(state_key, encode)
return { 'ok', rule.limit, remaining_units(state, algorithm) }
