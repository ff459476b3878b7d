--[[
Gives up the lease to fill a cache entry: its holder has gone, or can store nothing under it.

INTERNAL

KEYS
  entry_key      record  cache entry

ARGV
  lease_token    of the lease

REPLY
  ok             withdrawn
]]
--- @include "lib/cache_entry"

local entry = open_entry(entry_key)
local is_held = entry.lease and entry.lease.token == lease_token
if is_held then
  end_entry_lease(entry_key, entry)
end

return { 'ok', is_held and 'true' or 'false' }
