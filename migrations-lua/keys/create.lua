--[[
Makes a key.

OWN SCRIPT

KEYS
  key_record         record  key
  index_key          zset    ids of all keys that are not revoked
  version_key        record  number of changes

ARGV
  key_id             generated
  digest             generated
  most_keys          how many keys there may be
  name               JSON text
  scopes             JSON array
  spaces             JSON array
  expires_at         moment in milliseconds, or 0

REPLY
  ok                 key:json
  too_many_keys      most
]]
--- @include "lib/caller_key"

-- No other step of this script makes a key, so the count is exact.
if redis.call('ZCARD', index_key) >= tonumber(most_keys) then
  return { 'too_many_keys', tonumber(most_keys), replayable = false }
end
local key = {
  created_at = now, used_at = 0, expires_at = tonumber(expires_at), revoked_at = 0, previous_until = 0, disabled = 0,
  digest = digest, previous = digest, name = name, scopes = scopes, spaces = spaces,
}
change_key(key_record, key, version_key)
add_member(index_key, 0, key_id)
return { 'ok', key_json(key_id, key) }
