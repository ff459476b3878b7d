--- @include "lib/keep_for"
--- @export index_lock

-- The index of the locks of a space is a sorted set of their names, and one of when each name may leave it. A name
-- is entered for an hour longer than it has to be, so that a lock that is acquired again and again is entered once
-- an hour.
local SPARE_MS = 3600 * 1000

-- The index ends by itself this long after its newest name was entered. The longest lease lasts 30 days.
local INDEX_KEPT_MS = 31 * 24 * 3600 * 1000

-- The most names that one step removes.
local MAX_REMOVED = 100

-- Enters a lock into the index for as long as one of its leases lasts.
function index_lock(lock, lock_name, index_key, ends_key, lease_ends_at)
  if lease_ends_at <= lock.indexed_until then
    return
  end
  lock.indexed_until = lease_ends_at + SPARE_MS
  local gone = redis.call('ZRANGEBYSCORE', ends_key, '-inf', now, 'LIMIT', 0, MAX_REMOVED)
  for i = 1, #gone do
    if gone[i] ~= lock_name then
      queue_cleanup('ZREM', index_key, gone[i])
      queue_cleanup('ZREM', ends_key, gone[i])
    end
  end
  add_member(index_key, 0, lock_name)
  add_member(ends_key, lock.indexed_until, lock_name)
  keep_for(index_key, INDEX_KEPT_MS)
  keep_for(ends_key, INDEX_KEPT_MS)
end
