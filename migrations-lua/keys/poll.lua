--[[
Returns how often keys have changed.

INTERNAL
READ ONLY

KEYS
  version_key        record  number of changes

REPLY
  ok                 version now_ms
]]

return { 'ok', tonumber(read_record(version_key) or '0'), now }
