--- @include "lib/product"
--- @include "lib/product_hold"
--- @include "lib/reservation_layout"
--- @export open_reservation, encode_reservation, reservation_json, check_reservation_open, held_units, open_lines

local STATUSES = { 'held', 'confirmed', 'cancelled' }
local STATUS_CODES = { held = STATUS_HELD, confirmed = 2, cancelled = 3 }

-- The shortest text of a reservation without its lines.
local MIN_SIZE = 16

-- Returns the text of a reservation and its time to live.
function encode_reservation(_, reservation)
  local text = struct.pack(RESERVATION, 1, STATUS_CODES[reservation.status], reservation.extensions, reservation.created_at,
    reservation.expires_at, reservation.customer_id)
  for i = 1, #reservation.lines do
    local line = reservation.lines[i]
    text = text .. struct.pack(LINE, line.product_id, line.quantity, line.confirmed, line.released)
  end
  return text, math.max(reservation.expires_at - now, 0) + RESERVATION_KEPT_MS
end

local function decode_reservation(key, text)
  local layout_byte, status, extensions, created_at, expires_at, customer_id, at
  if #text > MIN_SIZE then
    layout_byte, status, extensions, created_at, expires_at, customer_id, at = struct.unpack(RESERVATION, text)
  end
  if layout_byte ~= 1 or not STATUSES[status] then
    fail_corrupt(key, 'a reservation')
  end
  local lines = {}
  local reservation = {
    status = STATUSES[status],
    extensions = extensions,
    created_at = created_at,
    expires_at = expires_at,
    customer_id = customer_id,
    reservation_id = key:sub(-36),
    lines = lines,
  }
  local is_expired = status == STATUS_HELD and expires_at <= now
  if is_expired then
    reservation.status = 'expired'
  end
  while at <= #text do
    local product_id, quantity, confirmed, released
    product_id, quantity, confirmed, released, at = struct.unpack(LINE, text, at)
    lines[#lines + 1] = {
      product_id = product_id,
      quantity = quantity,
      confirmed = confirmed,
      released = is_expired and quantity - confirmed or released,
    }
  end
  return reservation
end

-- Returns the reservation under a key, or nil where there is none. Nothing has to run at its end: the clock
-- ends it.
function open_reservation(key)
  return open_record(key, decode_reservation)
end

-- Refuses a reservation that has ended, and returns nil for one that can be confirmed, cancelled or extended.
function check_reservation_open(reservation_id, reservation)
  if reservation.status == 'held' then
    return nil
  end
  if reservation.status == 'expired' then
    return { 'reservation_expired', reservation_id, reservation.expires_at }
  end
  return { 'reservation_closed', reservation_id, reservation.status }
end

-- Returns the units of a line that are still held.
function held_units(line)
  return line.quantity - line.confirmed - line.released
end

-- Returns a reservation as the JSON that callers read, with instants in milliseconds. A line that a command
-- has just changed also has what is left of its product.
function reservation_json(reservation)
  local lines = {}
  for i = 1, #reservation.lines do
    local line = reservation.lines[i]
    local product_state = line.remaining and (',"remaining":%d'):format(line.remaining) or ''
    if line.low ~= nil then
      product_state = product_state .. ',"low_stock":' .. tostring(line.low)
    end
    lines[i] = ('{"product_id":"%s","quantity":%d,"confirmed":%d,"released":%d,"held":%d%s}'):format(
      line.product_id, line.quantity, line.confirmed, line.released, held_units(line), product_state
    )
  end
  return ('{"reservation_id":"%s","customer_id":"%s","status":"%s","lines":[%s],"extensions":%d,"created_at":%d,"expires_at":%d}'):format(
    reservation.reservation_id, reservation.customer_id, reservation.status, table.concat(lines, ','),
    reservation.extensions, reservation.created_at, reservation.expires_at
  )
end

-- Opens the product of a line; the line keeps it and its keys. Returns false where the set of holds does not have
-- the line's units. `id_bytes` are those of the reservation's id.
local function open_line(reservation, id_bytes, line, product_key, holds_key, log_key, allowance_key)
  local product = open_product(product_key, holds_key, log_key)
    or fail_corrupt(product_key, 'the product of ' .. reservation.reservation_id)
  if not line.product and held_units(line) > 0 and not redis.call('ZSCORE', holds_key, hold_member(held_units(line), id_bytes)) then
    return false
  end
  line.product, line.product_key, line.allowance_key = product, product_key, allowance_key
  -- An earlier step of this script may have told these, and they may have changed since.
  line.remaining, line.low = nil, nil
  return true
end

-- Opens the products of all lines of a reservation, whose keys are the lines of the running step. Returns false where
-- units of it have been taken back by a clock that was ahead, and has been set back since.
function open_lines(reservation, id_bytes)
  for i = 1, #reservation.lines do
    if not open_line(reservation, id_bytes, reservation.lines[i], keys_of_line(i)) then
      return false
    end
  end
  return true
end
