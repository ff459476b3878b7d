--[[
Returns the locks whose names the previous page named, as far as they are held, and the names of the next page.

READ ONLY

KEYS
  index_key      zset    names of the locks of the space
  * lock_key     record  lock

ARGV
  after                  name to go on after, or nothing to begin
  count                  how many names to name
  owner                  JSON, the owner whose locks are listed, or null for everybody's
  * lock_name            id

REPLY
  ok                     locks:json next
]]
--- @include "lib/lock"
--- @include "lib/index_page"

local only_owner = owner ~= 'null' and owner or nil
local locks = {}
for i = 1, line_count() do
  local lock = open_lock((keys_of_line(i)))
  local holders, holder_count = holders_json(lock, only_owner)
  if holder_count > 0 then
    locks[#locks + 1] = ('{"lock":"%s","mode":"%s","permits":%s,"holders":%s,"holder_count":%d,"last_fencing_token":%d}'):format(
      args_of_line(i), lock.mode, lock.permits > 0 and lock.permits or 'null', holders, #lock.leases, lock.last_token
    )
  end
end
return { 'ok', locks, ids_after(index_key, after, count) }
