--[[
Returns a script with the version that runs.

READ ONLY

KEYS
  script_key        record  script
  versions_key      hash    versions of the script

ARGV
  name              id

REPLY
  ok                script:json source
  script_not_found  name
]]
--- @include "lib/registry"

local script = open_script(script_key)
if not script then
  return { 'script_not_found', name }
end
local details, source = script_version(versions_key, script, script.active)
return { 'ok', script_json(name, script, details), source }
