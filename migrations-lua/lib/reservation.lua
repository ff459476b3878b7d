--- @include "lib/product"

-- A reservation as it is kept: a week longer than it holds anything, so that who comes late is told its end.
local RESERVATION = '^{"status":"(%l+)","created_at":(%d+),"expires_at":(%d+),"extensions":(%d+),"reservation_id":"([%w_-]+)",'
  .. '"customer_id":"([%w._:@-]+)","lines":%[(.*)%]}$'
local LINE = '{"product_id":"([%w._:@-]+)","quantity":(%d+),"confirmed":(%d+),"released":(%d+)}'
local RESERVATION_REMEMBERED_MS = 7 * 24 * 3600 * 1000

local function encode_reservation(_, it)
  local lines = {}
  for i = 1, #it.lines do
    local line = it.lines[i]
    lines[i] = ('{"product_id":"%s","quantity":%d,"confirmed":%d,"released":%d}'):format(
      line.product_id, line.quantity, line.confirmed, line.released
    )
  end
  local text = ('{"status":"%s","created_at":%d,"expires_at":%d,"extensions":%d,"reservation_id":"%s","customer_id":"%s","lines":[%s]}'):format(
    it.status, it.created_at, it.expires_at, it.extensions, it.reservation_id, it.customer_id, table.concat(lines, ',')
  )
  return text, math.max(it.expires_at - now, 0) + RESERVATION_REMEMBERED_MS
end

-- The reservation under a key, or nil where there is none. Nothing has to run at its end: the clock
-- alone ends it.
local function reservation(key)
  local it = live[key]
  if it then
    return it
  end
  local text = stored(key)
  if not text then
    return nil
  end
  local status, created_at, expires_at, extensions, reservation_id, customer_id, lines = text:match(RESERVATION)
  if not status then
    broken(key, 'a reservation')
  end
  it = {
    status = status,
    created_at = tonumber(created_at),
    expires_at = tonumber(expires_at),
    extensions = tonumber(extensions),
    reservation_id = reservation_id,
    customer_id = customer_id,
    lines = {},
  }
  for product_id, quantity, confirmed, released in lines:gmatch(LINE) do
    it.lines[#it.lines + 1] = {
      product_id = product_id,
      quantity = tonumber(quantity),
      confirmed = tonumber(confirmed),
      released = tonumber(released),
    }
  end
  if #it.lines == 0 then
    broken(key, 'a reservation')
  end
  if status == 'held' and it.expires_at <= now then
    it.status = 'expired'
    for i = 1, #it.lines do
      it.lines[i].released = it.lines[i].quantity - it.lines[i].confirmed
    end
  end
  live[key] = it
  return it
end

-- Why a reservation cannot be confirmed, cancelled or extended, or nil where it can.
local function reservation_ended(reservation_id, it)
  if it.status == 'held' then
    return nil
  end
  if it.status == 'expired' then
    return { 'reservation_expired', reservation_id, it.expires_at }
  end
  return { 'reservation_closed', reservation_id, it.status }
end

local function held_of(line)
  return line.quantity - line.confirmed - line.released
end

-- What is told about a reservation; of its lines also what a command has just left of their products.
local function reservation_json(it)
  local lines = {}
  for i = 1, #it.lines do
    local line = it.lines[i]
    local now_left = line.remaining and (',"remaining":%d'):format(line.remaining) or ''
    if line.low ~= nil then
      now_left = now_left .. ',"low_stock":' .. tostring(line.low)
    end
    lines[i] = ('{"product_id":"%s","quantity":%d,"confirmed":%d,"released":%d,"held":%d%s}'):format(
      line.product_id, line.quantity, line.confirmed, line.released, held_of(line), now_left
    )
  end
  return ('{"reservation_id":"%s","customer_id":"%s","status":"%s","lines":[%s],"extensions":%d,"created_at":%d,"expires_at":%d}'):format(
    it.reservation_id, it.customer_id, it.status, table.concat(lines, ','), it.extensions, it.created_at, it.expires_at
  )
end

-- Opens the product of a line, with a look at its set before anything is written: it is one, and has
-- the units. The line keeps the product and its keys.
local function open_line(it, line, product_key, holds_key, log_key, allowance_key)
  local stock = product(product_key, holds_key, log_key) or broken(product_key, 'the product of ' .. it.reservation_id)
  if not line.stock and held_of(line) > 0
    and not redis.call('ZSCORE', holds_key, ('%d:%s'):format(held_of(line), it.reservation_id)) then
    broken(holds_key, it.reservation_id)
  end
  line.stock, line.product_key, line.allowance_key = stock, product_key, allowance_key
  -- What an earlier step of this script has told of the product is told, and may be so no longer.
  line.remaining, line.low = nil, nil
end
