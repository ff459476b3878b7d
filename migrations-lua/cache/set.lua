--[[
Stores the value of a cache entry without a lease, unless a newer one is there.

KEYS
  entry_key      record  cache entry
  values_key     hash    large value
  tags_key       zset    invalidations of tags

ARGV
  key            text
  version        whole number, or nothing
  is_bytes       true for a value that is no text, or false
  value          bytes; of a large value, its stamp
  large          stamp and bytes of a large value, or nothing
  ttl_ms         how long it is fresh
  stale_ms       how long it is stale after that
  refresh_ms     how long before its end one caller refreshes it
  * tag          text

REPLY
  ok             version expires_at:instant
  version_stale  key current_version:json given_version:json
]]
--- @include "lib/cache_entry"

local entry, tags = open_entry(entry_key), tags_of_call()
if version == '' then
  if not entry.is_version_given then
    entry.version = entry.version + 1
  end
elseif entry.is_version_given and tonumber(version) <= entry.version then
  return { 'version_stale', key, ('%d'):format(entry.version), version }
else
  entry.version, entry.is_version_given = tonumber(version), true
end
local since = tags and tag_sequence(tags_key, ttl_ms + stale_ms) or 0
store_value(entry, values_key, value, large, is_bytes, ttl_ms, stale_ms, refresh_ms, tags, since)
end_entry_lease(entry_key, entry)

return { 'ok', ('%d'):format(entry.version), entry.expires_at }
