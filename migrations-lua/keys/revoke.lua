--[[
Ends a key for ever. A key that is revoked already stays as it is.

OWN SCRIPT

KEYS
  key_record         record  key
  index_key          zset    ids of all keys that are not revoked
  version_key        record  number of changes

ARGV
  key_id             id

REPLY
  ok                 key:json
  key_not_found      key_id
]]
--- @include "lib/caller_key"

local key = open_key(key_record)
if not key then
  return { 'key_not_found', key_id }
end
if key.revoked_at == 0 then
  key.revoked_at, key.previous_until = now, 0
  change_key(key_record, key, version_key)
  remove_member(index_key, 0, key_id)
end
return { 'ok', key_json(key_id, key) }
