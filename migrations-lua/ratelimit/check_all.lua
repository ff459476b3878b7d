--[[
Takes units from several limits if all of them have them.

KEYS
  * state_key      record  what was taken
  * log_key        zset    admissions of a sliding window, leases of a concurrency limit
  * policy_key     record  policy; of an empty name for a rule of its own

ARGV
  * key            text
  * cost           units
  * policy         id, or nothing for a rule of its own
  * lease_id       generated
  * code           of the algorithm; this and the next four only of a rule of its own
  * limit          the most units at once
  * a              first number of the rule
  * b              second number of the rule
  * window_ms      how long a limit that was used up takes to be whole again

REPLY
  ok                  results:json
  policy_not_found    policy field
  cost_exceeds_limit  cost limit field
  rate_limited        key policy:json allowed:json limit remaining retry_after_ms reset_after_ms cost window_ms violations:json
]]
--- @include "lib/limit"
--- @include "lib/policy"

local lines, violated = {}, {}
for i = 1, line_count() do
  local state_key, log_key, policy_key = keys_of_line(i)
  local key, cost, policy, lease_id, code, limit, a, b, window_ms = args_of_line(i)
  cost = tonumber(cost)
  local rule = policy_rule(policy, policy_key, code, limit, a, b, window_ms)
  if not rule then
    return { 'policy_not_found', policy, ('checks/%d/policy'):format(i - 1) }
  end
  local state, algorithm = open_limit(rule, state_key, log_key)
  local never_fits = exceeds_limit(rule, state, cost)
  if never_fits and rule.shadow == 0 then
    return { 'cost_exceeds_limit', state.pending + cost, rule.limit, ('checks/%d/cost'):format(i - 1) }
  end
  local denied = never_fits or not set_aside(state, algorithm, cost)
  lines[i] = {
    key = key, cost = cost, policy = policy, lease_id = lease_id, rule = rule, state_key = state_key, state = state,
    algorithm = algorithm, denied = denied,
    retry_after_ms = denied and not never_fits and wait_for(state, algorithm, cost) or 0,
  }
  if denied and rule.shadow == 0 then
    violated[#violated + 1] = i
  end
end

if #violated > 0 then
  for i = 1, #lines do
    lines[i].state.pending = 0
  end
  local worst, violations = lines[violated[1]], {}
  for i = 1, #violated do
    local line = lines[violated[i]]
    if line.retry_after_ms > worst.retry_after_ms then
      worst = line
    end
    -- A key is printable text, so only these two need an escape in JSON.
    violations[i] = ('{"index":%d,"key":"%s","policy":%s,"cost":%d,'):format(
      violated[i] - 1, line.key:gsub('["\\]', '\\%0'), line.policy == '' and 'null' or '"' .. line.policy .. '"', line.cost
    ) .. decision_json(
      line.rule, remaining_units(line.state, line.algorithm), line.retry_after_ms,
      wait_for(line.state, line.algorithm, line.rule.limit)
    ):sub(2)
  end
  local state, algorithm, rule = worst.state, worst.algorithm, worst.rule
  return {
    'rate_limited', worst.key, worst.policy == '' and 'null' or '"' .. worst.policy .. '"', 'false', rule.limit,
    remaining_units(state, algorithm), worst.retry_after_ms, wait_for(state, algorithm, rule.limit), worst.cost, rule.window_ms,
    '[' .. table.concat(violations, ',') .. ']', replayable = false,
  }
end

for i = 1, #lines do
  local line = lines[i]
  if not line.denied then
    take_units(line.state_key, line.state, line.algorithm, line.cost, line.lease_id)
  end
end
local results = {}
for i = 1, #lines do
  local line = lines[i]
  results[i] = decision_json(
    line.rule, remaining_units(line.state, line.algorithm), line.retry_after_ms,
    wait_for(line.state, line.algorithm, line.rule.limit)
  ):sub(1, -2) .. (',"lease_id":%s,"denied":%d}'):format(
    line.rule.code == CONCURRENCY and not line.denied and '"' .. line.lease_id .. '"' or 'null', line.denied and 1 or 0
  )
end
return { 'ok', '[' .. table.concat(results, ',') .. ']' }
