--[[
Gives units back to a limit, at most those that were taken.

KEYS
  state_key        record  what was taken
  log_key          zset    admissions of a sliding window, leases of a concurrency limit
  * policy_key     record  policy, if the call names one

ARGV
  cost             units
  policy           id, or nothing for a rule of its own
  code             of the algorithm; this and the next four only of a rule of its own
  limit            the most units at once
  a                first number of the rule
  b                second number of the rule
  window_ms        how long a limit that was used up takes to be whole again

REPLY
  ok                  limit remaining reset_after_ms window_ms refunded
  policy_not_found    policy
  algorithm_mismatch  algorithm
]]
--- @include "lib/limit"
--- @include "lib/policy"

local rule = policy_rule(policy, keys_of_line(1), code, limit, a, b, window_ms)
if not rule then
  return { 'policy_not_found', policy }
end
local state, algorithm = open_limit(rule, state_key, log_key)
if not algorithm.give_back then
  return { 'algorithm_mismatch', 'concurrency' }
end
local refunded = give_back_units(state_key, state, algorithm, tonumber(cost))
return { 'ok', rule.limit, remaining_units(state, algorithm), wait_for(state, algorithm, rule.limit), rule.window_ms, refunded }
