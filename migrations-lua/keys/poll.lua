--[[
Returns how often keys have changed.

INTERNAL
READ ONLY

KEYS
  version_key        record  number of changes

REPLY
  ok                 version now_ms
]]
--- @include "lib/caller_key"

return { 'ok', key_changes(version_key), now }
