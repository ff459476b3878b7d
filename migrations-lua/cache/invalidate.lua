--[[
Invalidates cache entries by their keys and by their tags. Leases to fill them are void.

KEYS
  tags_key        zset    invalidations of tags
  * entry_key     record  cache entry
  * values_key    hash    large value

ARGV
  keep_stale      true to leave the values until the entries are filled, or false
  * tag           text

REPLY
  ok              invalidated
]]
--- @include "lib/cache_entry"

local invalidated, keeps_stale = 0, keep_stale == 'true'
for i = 1, line_count() do
  local entry_key, values_key = keys_of_line(i)
  local entry = open_entry(entry_key)
  local state = entry_state(entry, tags_key)
  local is_there = state ~= 'none' and not (keeps_stale and entry.is_invalidated)
  if is_there or entry.lease then
    invalidated = invalidated + 1
  end
  if is_there then
    entry.values_key = values_key
    if keeps_stale and entry.stale_ms > 0 then
      entry.is_invalidated, entry.expires_at = true, math.min(entry.expires_at, now)
    else
      drop_value(entry)
    end
  end
  if is_there or entry.lease then
    end_entry_lease(entry_key, entry)
  end
end
local tags = tags_of_call()
if tags then
  invalidate_tags(tags_key, tags, keeps_stale)
end

return { 'ok', invalidated }
