--[[
Returns the value of a cache entry, and never a lease.

READ ONLY

KEYS
  entry_key     record  cache entry
  tags_key      zset    invalidations of tags

ARGV
  key           text

REPLY
  ok            state version age_ms expires_in_ms is_bytes field stamp value
  cache_miss    key
]]
--- @include "lib/cache_entry"

local entry = open_entry(entry_key)
local state = entry_state(entry, tags_key)
if state ~= 'fresh' and state ~= 'stale' then
  return { 'cache_miss', key }
end

return { 'ok', state, value_fields(entry, state) }
