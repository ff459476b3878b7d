--[[
Registers the source of a script: a new version, or one that is kept already, which then runs.

KEYS
  script_key        record  script
  versions_key      hash    versions of the script
  index_key         zset    the space's scripts

ARGV
  name              id
  expected_version  versions with a blank between them, or nothing to expect none
  sha256            of the source
  details           JSON members of the version
  source            of the script

REPLY
  ok                script:json created
  version_mismatch  version expected
]]
--- @include "lib/registry"
--- @include "lib/version"

local script = open_script(script_key)
local is_new = not script
script = script or { version = 0, active = 0, latest = 0, digests = '' }
local refusal = check_version(script, expected_version)
if refusal then
  return refusal
end

local at = script.digests:find(sha256, 1, true)
local version = at and script.latest - (at - 1) / 64 or script.latest + 1
local old_details, _, old_text
if at then
  old_details, _ = script_version(versions_key, script, version)
  old_text = old_details .. '\n' .. source
elseif version > MAX_SCRIPT_VERSIONS then
  old_text = redis.call('HGET', versions_key, script_slot(version)) or nil
end
local text = version_json(version, details, source)
-- The moment at which a version was made stays as it was.
local had = old_details and old_details:match('^{"version":%d+,"created_at":(%d+),')
if had then
  text = text:gsub('"created_at":%d+', '"created_at":' .. had, 1)
end
if text ~= old_text or script.active ~= version then
  if text ~= old_text then
    set_field(versions_key, script_slot(version), text, old_text)
  end
  script.active = version
  if not at then
    script.latest = version
    script.digests = (sha256 .. script.digests):sub(1, 64 * MAX_SCRIPT_VERSIONS)
  end
  change_script(script_key, script)
end
if is_new then
  add_member(index_key, 0, name)
end
return { 'ok', script_json(name, script, text:sub(1, text:find('\n', 1, true) - 1)), is_new and 1 or 0 }
