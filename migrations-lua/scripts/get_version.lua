--[[
Returns one version of a script.

READ ONLY

KEYS
  script_key                record  script
  versions_key              hash    versions of the script

ARGV
  name                      id
  version                   its number

REPLY
  ok                        script:json source
  script_not_found          name
  script_version_not_found  name version
]]
--- @include "lib/registry"

local script = open_script(script_key)
if not script then
  return { 'script_not_found', name }
end
local details, source = script_version(versions_key, script, tonumber(version))
if not details then
  return { 'script_version_not_found', name, tonumber(version) }
end
return { 'ok', script_json(name, script, details), source }
