--- @export open_lock, encode_lock, encode_release, is_held, check_lease, holders_json, lease_fields

-- The record of a lock: its last fencing token, and the lease that holds it or held it last.
local LOCK = '^{"last_fencing_token":(%d+),"lease_id":"([%w_-]*)","owner":(".*"),"expires_at":(%d+),"metadata":({.*})}$'

-- The record outlives its lease, so that a late holder learns that the lease has ended. The fencing token
-- does not need it: a token is never behind the clock.
local KEPT_AFTER_END_MS = 3600 * 1000

local function decode_lock(key, text)
  local token, lease_id, owner, expires_at, metadata = text:match(LOCK)
  if not token or #token > 16 then
    fail_corrupt(key, 'a lock')
  end
  return {
    last_fencing_token = tonumber(token),
    lease_id = lease_id,
    owner = owner,
    expires_at = tonumber(expires_at),
    metadata = metadata,
  }
end

-- Returns the lock under a key. One that was never held is free.
function open_lock(key)
  local lock = open_record(key, decode_lock)
  if not lock then
    lock = { last_fencing_token = 0, lease_id = '', owner = '""', expires_at = 0, metadata = '{}' }
    open_records[key] = lock
  end
  return lock
end

-- Returns true while a lease holds the lock.
function is_held(lock)
  return lock.lease_id ~= '' and lock.expires_at > now
end

-- Returns the text of a lock and its time to live.
function encode_lock(_, lock)
  local text = ('{"last_fencing_token":%d,"lease_id":"%s","owner":%s,"expires_at":%d,"metadata":%s}'):format(
    lock.last_fencing_token, lock.lease_id, lock.owner, lock.expires_at, lock.metadata
  )
  return text, math.max(lock.expires_at - now, 0) + KEPT_AFTER_END_MS
end

-- A release can be repeated for this long.
local RELEASE_KEPT_MS = 60 * 1000

-- Returns the text of a release, which is the name of its lock, and its time to live.
function encode_release(_, lock_name)
  return lock_name, RELEASE_KEPT_MS
end

-- Refuses a lease that does not hold the lock, and returns nil for the one that does.
function check_lease(lock, lock_name, lease_id)
  if lock.lease_id ~= lease_id then
    return { 'lease_not_owner', lock_name, lease_id }
  end
  if lock.expires_at <= now then
    return { 'lease_expired', lock_name, lease_id, lock.expires_at }
  end
  return nil
end

-- Returns the holders as JSON. It leaves out the lease_id, which proves the lease and belongs to its holder.
function holders_json(lock)
  if not is_held(lock) then
    return '[]'
  end
  return ('[{"owner":%s,"mode":"exclusive","fencing_token":%d,"expires_in_ms":%d,"metadata":%s}]'):format(
    lock.owner, lock.last_fencing_token, lock.expires_at - now, lock.metadata
  )
end

-- Returns the fields of a reply that tells a lease.
function lease_fields(lock_name, lock)
  return lock.lease_id, lock_name, lock.owner, 'exclusive', ('%d'):format(lock.last_fencing_token), lock.expires_at,
    lock.expires_at - now, lock.metadata
end
