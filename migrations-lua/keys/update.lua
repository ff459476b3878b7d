--[[
Changes a key.

OWN SCRIPT

KEYS
  key_record         record  key
  version_key        record  number of changes

ARGV
  key_id             id
  name               JSON text, or nothing to keep it
  scopes             JSON array, likewise
  spaces             JSON array, likewise
  expires_at         moment in milliseconds or 0, likewise
  disabled           1 or 0, likewise

REPLY
  ok                 key:json
  key_not_found      key_id
  key_revoked        key_id
]]
--- @include "lib/caller_key"

local key = open_key(key_record)
if not key then
  return { 'key_not_found', key_id }
end
if key.revoked_at > 0 then
  return { 'key_revoked', key_id }
end
key.name = name ~= '' and name or key.name
key.scopes = scopes ~= '' and scopes or key.scopes
key.spaces = spaces ~= '' and spaces or key.spaces
key.expires_at = tonumber(expires_at) or key.expires_at
key.disabled = tonumber(disabled) or key.disabled
change_key(key_record, key, version_key)
return { 'ok', key_json(key_id, key) }
