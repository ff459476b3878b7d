--[[
Returns what a run needs of a script: the version that runs, and what is known of it.

READ ONLY
INTERNAL

KEYS
  script_key                record  script
  versions_key              hash    versions of the script

ARGV
  name                      id
  version                   its number, or 0 for the one that runs

REPLY
  ok                        script:json
  script_not_found          name
  script_version_not_found  name version
]]
--- @include "lib/registry"

local script = open_script(script_key)
if not script then
  return { 'script_not_found', name }
end
local number = version == '0' and script.active or tonumber(version)
local details = script_version(versions_key, script, number)
if not details then
  return { 'script_version_not_found', name, number }
end
return { 'ok', script_json(name, script, details) }
