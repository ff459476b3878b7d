--- @include "lib/product"
--- @export open_reservation, encode_reservation, reservation_json, check_reservation_open, held_units, open_line, open_lines

-- The record of a reservation. It is kept 7 days after it ends, so that a late call learns how it ended.
local RESERVATION = '^{"status":"(%l+)","created_at":(%d+),"expires_at":(%d+),"extensions":(%d+),"reservation_id":"([%w_-]+)",'
  .. '"customer_id":"([%w._:@-]+)","lines":%[(.*)%]}$'
local LINE = '{"product_id":"([%w._:@-]+)","quantity":(%d+),"confirmed":(%d+),"released":(%d+)}'
local KEPT_AFTER_END_MS = 7 * 24 * 3600 * 1000

-- Returns the text of a reservation and its time to live.
function encode_reservation(_, reservation)
  local lines = {}
  for i = 1, #reservation.lines do
    local line = reservation.lines[i]
    lines[i] = ('{"product_id":"%s","quantity":%d,"confirmed":%d,"released":%d}'):format(
      line.product_id, line.quantity, line.confirmed, line.released
    )
  end
  local form = '{"status":"%s","created_at":%d,"expires_at":%d,"extensions":%d,'
    .. '"reservation_id":"%s","customer_id":"%s","lines":[%s]}'
  local text = form:format(
    reservation.status, reservation.created_at, reservation.expires_at, reservation.extensions,
    reservation.reservation_id, reservation.customer_id, table.concat(lines, ',')
  )
  return text, math.max(reservation.expires_at - now, 0) + KEPT_AFTER_END_MS
end

local function decode_reservation(key, text)
  local status, created_at, expires_at, extensions, reservation_id, customer_id, lines = text:match(RESERVATION)
  if not status then
    fail_corrupt(key, 'a reservation')
  end
  local reservation = {
    status = status,
    created_at = tonumber(created_at),
    expires_at = tonumber(expires_at),
    extensions = tonumber(extensions),
    reservation_id = reservation_id,
    customer_id = customer_id,
    lines = {},
  }
  for product_id, quantity, confirmed, released in lines:gmatch(LINE) do
    reservation.lines[#reservation.lines + 1] = {
      product_id = product_id,
      quantity = tonumber(quantity),
      confirmed = tonumber(confirmed),
      released = tonumber(released),
    }
  end
  if #reservation.lines == 0 then
    fail_corrupt(key, 'a reservation')
  end
  if status == 'held' and reservation.expires_at <= now then
    reservation.status = 'expired'
    for i = 1, #reservation.lines do
      local line = reservation.lines[i]
      line.released = line.quantity - line.confirmed
    end
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

-- Opens the product of a line; the line keeps it and its keys. It fails where the set of holds does not have
-- the line's units.
function open_line(reservation, line, product_key, holds_key, log_key, allowance_key)
  local product = open_product(product_key, holds_key, log_key)
    or fail_corrupt(product_key, 'the product of ' .. reservation.reservation_id)
  if not line.product and held_units(line) > 0
    and not redis.call('ZSCORE', holds_key, ('%d:%s'):format(held_units(line), reservation.reservation_id)) then
    fail_corrupt(holds_key, reservation.reservation_id)
  end
  line.product, line.product_key, line.allowance_key = product, product_key, allowance_key
  -- An earlier step of this script may have told these, and they may have changed since.
  line.remaining, line.low = nil, nil
end

-- Opens the products of all lines of a reservation, whose keys are the lines of the running step.
function open_lines(reservation)
  for i = 1, #reservation.lines do
    open_line(reservation, reservation.lines[i], keys_of_line(i))
  end
end
