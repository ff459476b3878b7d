--[[
Stores the value of a cache entry that the holder of its lease has computed.

KEYS
  entry_key         record  cache entry
  values_key        hash    large value
  tags_key          zset    invalidations of tags

ARGV
  key               text
  lease_token       of the lease to fill it
  is_bytes          true for a value that is no text, or false
  value             bytes; of a large value, its stamp
  large             stamp and bytes of a large value, or nothing
  ttl_ms            how long it is fresh
  stale_ms          how long it is stale after that
  refresh_ms        how long before its end one caller refreshes it
  * tag             text

REPLY
  ok                version expires_at:instant filled_after_ms
  cache_lease_lost  key
]]
--- @include "lib/cache_entry"

local entry = open_entry(entry_key)
local lease, tags = entry.lease, tags_of_call()
local is_lost = not lease or lease.token ~= lease_token
if not is_lost and tags then
  -- The tags of an entry are known only now, so the lease is void if one was invalidated since it was granted.
  local dropped, kept = tag_invalidations(tags_key, tags, lease.since)
  is_lost = dropped or kept
end
if is_lost then
  return { 'cache_lease_lost', key }
end

if not entry.is_version_given then
  entry.version = entry.version + 1
end
if tags then
  tag_sequence(tags_key, ttl_ms + stale_ms)
end
store_value(entry, values_key, value, large, is_bytes, ttl_ms, stale_ms, refresh_ms, tags, lease.since)
end_entry_lease(entry_key, entry)

return { 'ok', ('%d'):format(entry.version), entry.expires_at, now - lease.granted_at }
