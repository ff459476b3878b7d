-- A lock as it is kept: its last fencing token, and the lease that holds it or held it last.
local LOCK = '^{"last_fencing_token":(%d+),"lease_id":"([%w_-]*)","owner":(".*"),"expires_at":(%d+),"metadata":({.*})}$'

-- The record outlives the lease, so that a holder who comes late learns that its time ran out. The token
-- does not need it: it never falls behind the clock.
local LOCK_REMEMBERED_MS = 3600 * 1000

-- The lock under a key; one that was never held is free.
local function lock(key)
  local known = live[key]
  if known then
    return known
  end
  local text = stored(key)
  if text then
    local token, lease_id, owner, expires_at, metadata = text:match(LOCK)
    if not token or #token > 16 then
      broken(key, 'a lock')
    end
    known = {
      last_fencing_token = tonumber(token),
      lease_id = lease_id,
      owner = owner,
      expires_at = tonumber(expires_at),
      metadata = metadata,
    }
  else
    known = { last_fencing_token = 0, lease_id = '', owner = '""', expires_at = 0, metadata = '{}' }
  end
  live[key] = known
  return known
end

local function is_held(it)
  return it.lease_id ~= '' and it.expires_at > now
end

local function encode_lock(_, it)
  local text = ('{"last_fencing_token":%d,"lease_id":"%s","owner":%s,"expires_at":%d,"metadata":%s}'):format(
    it.last_fencing_token, it.lease_id, it.owner, it.expires_at, it.metadata
  )
  return text, math.max(it.expires_at - now, 0) + LOCK_REMEMBERED_MS
end

-- Why a lease is not the one that holds the lock, or nil where it is.
local function refuse_lease(it, name, lease_id)
  if it.lease_id ~= lease_id then
    return { 'lease_not_owner', name, lease_id }
  end
  if it.expires_at <= now then
    return { 'lease_expired', name, lease_id, it.expires_at }
  end
  return nil
end

-- Whoever may see a lock may see who holds it, but never the lease_id: that is the holder's proof.
local function holders_of(it)
  if not is_held(it) then
    return '[]'
  end
  return ('[{"owner":%s,"mode":"exclusive","fencing_token":%d,"expires_in_ms":%d,"metadata":%s}]'):format(
    it.owner, it.last_fencing_token, it.expires_at - now, it.metadata
  )
end

local function lease_fields(name, it)
  return it.lease_id, name, it.owner, 'exclusive', ('%d'):format(it.last_fencing_token), it.expires_at,
    it.expires_at - now, it.metadata
end
