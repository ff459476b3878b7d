--[[
Deletes a policy. The state of its limits stays until it ends by itself.

KEYS
  policy_key        record  policy
  index_key         zset    the space's policies

ARGV
  policy            id
  expected_version  versions with a blank between them, or nothing to expect none

REPLY
  ok                policy
  policy_not_found  policy
  version_mismatch  version expected
]]
--- @include "lib/policy"
--- @include "lib/version"

local record = open_policy(policy_key)
if not record then
  return { 'policy_not_found', policy }
end
local refusal = check_version(record, expected_version)
if refusal then
  return refusal
end
delete_record(policy_key)
remove_member(index_key, 0, policy)
return { 'ok', policy }
