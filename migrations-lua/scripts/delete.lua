--[[
Deletes a script with all its versions.

KEYS
  script_key        record  script
  versions_key      hash    versions of the script
  index_key         zset    the space's scripts

ARGV
  name              id
  expected_version  versions with a blank between them, or nothing to expect none

REPLY
  ok                name
  script_not_found  name
  version_mismatch  version expected
]]
--- @include "lib/registry"
--- @include "lib/version"

local script = open_script(script_key)
if not script then
  return { 'script_not_found', name }
end
local refusal = check_version(script, expected_version)
if refusal then
  return refusal
end
delete_record(script_key)
remove_member(index_key, 0, name)
-- A hash that stays is read by nobody: a script that is made anew counts its versions from 1.
queue_cleanup('DEL', versions_key)
return { 'ok', name }
