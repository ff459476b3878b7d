--[[
Creates a policy, or replaces its rule.

KEYS
  policy_key        record  policy
  index_key         zset    the space's policies

ARGV
  policy            id
  expected_version  versions with a blank between them, or nothing to expect none
  code              of the algorithm
  limit             the most units at once
  a                 first number of the rule
  b                 second number of the rule
  window_ms         how long a limit that was used up takes to be whole again
  shadow            1 for a policy that only counts, or 0
  rule_json         the policy as callers read it

REPLY
  ok                policy:json created
  version_mismatch  version expected
]]
--- @include "lib/policy"
--- @include "lib/version"

local record = open_policy(policy_key)
local is_new = not record
record = record or { version = 0 }
local refusal = check_version(record, expected_version)
if refusal then
  return refusal
end
if record.rule_json ~= rule_json then
  record.code, record.limit, record.a, record.b = tonumber(code), tonumber(limit), tonumber(a), tonumber(b)
  record.window_ms, record.shadow, record.rule_json = tonumber(window_ms), tonumber(shadow), rule_json
  change_policy(policy_key, record)
end
if is_new then
  add_member(index_key, 0, policy)
end
return { 'ok', policy_json(policy, record), is_new and 1 or 0 }
