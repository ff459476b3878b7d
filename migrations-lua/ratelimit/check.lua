--[[
Takes units from a limit if they are there.

KEYS
  state_key        record  what was taken
  log_key          zset    admissions of a sliding window, leases of a concurrency limit
  * policy_key     record  policy, if the call names one

ARGV
  key              text
  cost             units
  policy           id, or nothing for a rule of its own
  lease_id         generated
  code             of the algorithm; this and the next four only of a rule of its own
  limit            the most units at once
  a                first number of the rule
  b                second number of the rule
  window_ms        how long a limit that was used up takes to be whole again

REPLY
  ok                  limit remaining retry_after_ms reset_after_ms window_ms lease_id denied
  policy_not_found    policy
  cost_exceeds_limit  cost limit field
  rate_limited        key policy:json allowed:json limit remaining retry_after_ms reset_after_ms cost window_ms
]]
--- @include "lib/limit"
--- @include "lib/policy"

cost = tonumber(cost)
local rule = policy_rule(policy, keys_of_line(1), code, limit, a, b, window_ms)
if not rule then
  return { 'policy_not_found', policy }
end
local state, algorithm = open_limit(rule, state_key, log_key)
local never_fits = exceeds_limit(rule, state, cost)
if never_fits and rule.shadow == 0 then
  return { 'cost_exceeds_limit', cost, rule.limit, 'cost' }
end
local denied, retry_after_ms = never_fits or not set_aside(state, algorithm, cost), 0
if not denied then
  take_units(state_key, state, algorithm, cost, lease_id)
elseif not never_fits then
  retry_after_ms = wait_for(state, algorithm, cost)
end
local remaining, reset_after_ms = remaining_units(state, algorithm), wait_for(state, algorithm, rule.limit)
if denied and rule.shadow == 0 then
  return {
    'rate_limited', key, policy == '' and 'null' or '"' .. policy .. '"', 'false', rule.limit, remaining, retry_after_ms,
    reset_after_ms, cost, rule.window_ms, replayable = false,
  }
end
return {
  'ok', rule.limit, remaining, retry_after_ms, reset_after_ms, rule.window_ms, rule.code == CONCURRENCY and not denied and lease_id,
  denied and 1 or 0,
}
