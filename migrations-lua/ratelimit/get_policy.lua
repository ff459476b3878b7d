--[[
Returns a policy.

READ ONLY

KEYS
  policy_key        record  policy

ARGV
  policy            id

REPLY
  ok                policy:json
  policy_not_found  policy
]]
--- @include "lib/policy"

local record = open_policy(policy_key)
if not record then
  return { 'policy_not_found', policy }
end
return { 'ok', policy_json(policy, record) }
