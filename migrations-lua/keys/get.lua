--[[
Returns a key.

READ ONLY

KEYS
  key_record         record  key

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
return { 'ok', key_json(key_id, key) }
