--[[
Has another version of a script run from now on.

KEYS
  script_key                record  script
  versions_key              hash    versions of the script

ARGV
  name                      id
  expected_version          versions with a blank between them, or nothing to expect none
  version                   number of the version that is to run

REPLY
  ok                        script:json
  script_not_found          name
  script_version_not_found  name version
  version_mismatch          version expected
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
local number = tonumber(version)
local details = script_version(versions_key, script, number)
if not details then
  return { 'script_version_not_found', name, number }
end
if script.active ~= number then
  script.active = number
  change_script(script_key, script)
end
return { 'ok', script_json(name, script, details) }
