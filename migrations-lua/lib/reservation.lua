-- A reservation as it is kept: a week longer than it holds anything, so that who comes late is told its end.
local RESERVATION = '^{"status":"(%l+)","created_at":(%d+),"expires_at":(%d+),"reservation_id":"([%w_-]+)",'
  .. '"customer_id":"([%w._:@-]+)","lines":(%[.*%])}$'
local REMEMBERED_MS = 7 * 24 * 3600 * 1000

local function encode_reservation(_, it)
  local text = ('{"status":"%s","created_at":%s,"expires_at":%s,"reservation_id":"%s","customer_id":"%s","lines":%s}'):format(
    it.status, it.created_at, it.expires_at, it.reservation_id, it.customer_id, it.lines
  )
  return text, it.expires_at - now + REMEMBERED_MS
end

local function new_reservation(key, reservation_id, customer_id, lines, expires_at)
  live[key] = {
    status = 'held',
    created_at = now,
    expires_at = expires_at,
    reservation_id = reservation_id,
    customer_id = customer_id,
    lines = lines,
  }
  change(key, encode_reservation)
  return live[key]
end

-- The reservation under a key, or nil where there is none.
local function reservation(key)
  local known = live[key]
  if known then
    return known
  end
  local text = stored(key)
  if not text then
    return nil
  end
  local status, created_at, expires_at, reservation_id, customer_id, lines = text:match(RESERVATION)
  if not status then
    broken(key, 'a reservation')
  end
  known = {
    status = status,
    created_at = created_at,
    expires_at = tonumber(expires_at),
    reservation_id = reservation_id,
    customer_id = customer_id,
    lines = lines,
  }
  -- Nothing has to run at its end: the clock alone ends it.
  if known.status == 'held' and known.expires_at <= now then
    known.status = 'expired'
  end
  live[key] = known
  return known
end
