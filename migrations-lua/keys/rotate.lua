--[[
Gives a key another secret. The one before works for a while longer.

OWN SCRIPT

KEYS
  key_record         record  key
  version_key        record  number of changes

ARGV
  key_id             id
  digest             generated
  overlap_ms         how long the secret before works

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
key.previous, key.previous_until, key.digest = key.digest, now + overlap_ms, digest
change_key(key_record, key, version_key)
return { 'ok', key_json(key_id, key) }
