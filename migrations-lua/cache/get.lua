--[[
Returns the value of a cache entry, or gives one caller the lease to fill it.

SAFE TO REPEAT

KEYS
  entry_key     record  cache entry
  tags_key      zset    invalidations of tags

ARGV
  lease_ms      how long the caller may take to fill the entry
  lease_token   generated
  process       in which the caller waits for the value, or nothing
  unreadable    stamp of a large value that could not be read, or nothing

REPLY
  ok            state version age_ms expires_in_ms is_bytes field stamp value lease lease_expires_at:instant retry_after_ms lease_lapsed
]]
--- @include "lib/cache_entry"

local entry = open_entry(entry_key)
if unreadable ~= '' and entry.stamp == unreadable then
  drop_value(entry)
end
local state, lease = entry_state(entry, tags_key), entry.lease
local has_lapsed = false
if state ~= 'fresh' or now >= entry.expires_at - entry.refresh_ms then
  if not lease then
    if state == 'none' and not entry.stamp then
      -- A large value stays until the next writer, who has the key of its hash, removes both.
      drop_value(entry)
    end
    lease_entry(entry_key, entry, tags_key, lease_token, lease_ms)
    lease, has_lapsed = entry.lease, entry.lease_lapsed
  elseif process ~= '' and (state == 'none' or state == 'kept') and lease.token ~= lease_token then
    wait_for_entry(entry_key, entry, process)
  end
end

local version, age_ms, expires_in_ms, is_bytes, field, stamp, value = value_fields(entry, state)
return {
  'ok', state, version, age_ms, expires_in_ms, is_bytes, field, stamp, value,
  lease and (lease.token == lease_token and 'own' or 'other') or 'none', lease and lease.expires_at or false,
  lease and lease.expires_at - now or 0, has_lapsed and 1 or 0,
}
