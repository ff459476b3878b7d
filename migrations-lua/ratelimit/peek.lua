--[[
Returns the decision that a check would get, and takes nothing.

READ ONLY

KEYS
  state_key        record  what was taken
  log_key          zset    admissions of a sliding window, leases of a concurrency limit
  policy_key       record  policy

ARGV
  cost             units
  policy           id

REPLY
  ok                  allowed:json limit remaining retry_after_ms reset_after_ms window_ms denied
  policy_not_found    policy
  cost_exceeds_limit  cost limit
]]
--- @include "lib/limit"
--- @include "lib/policy"

cost = tonumber(cost)
local rule = open_policy(policy_key)
if not rule then
  return { 'policy_not_found', policy }
end
local state, algorithm = open_limit(rule, state_key, log_key)
local never_fits = exceeds_limit(rule, state, cost)
if never_fits and rule.shadow == 0 then
  return { 'cost_exceeds_limit', cost, rule.limit }
end
local remaining, reset_after_ms = remaining_units(state, algorithm), wait_for(state, algorithm, rule.limit)
local retry_after_ms = never_fits and 0 or wait_for(state, algorithm, cost)
local denied = never_fits or retry_after_ms > 0
return {
  'ok', tostring(not denied or rule.shadow == 1), rule.limit, remaining, retry_after_ms, reset_after_ms, rule.window_ms,
  denied and 1 or 0,
}
