--[[
Set units of one or several products aside, all lines or none.

KEYS
  reservation_key          new reservation
  customer_key             sorted set of the customer's reservations
  * product_key            product
  * holds_key              sorted set of holds
  * log_key                log of movements
  * allowance_key          what the customer has of the product

ARGV
  reservation_id           minted
  customer_id              id
  ttl_ms                   how long the units are held
  * product_id             id, each product once
  * quantity               units

REPLY
  ok                       reservation:json
  product_not_found        product_id
  insufficient_stock       shortages:json
  customer_limit_exceeded  product_id customer_id requested used max_per_customer
]]
--- @include "lib/reservation"
--- @include "lib/allowance"

local reservation_key, customer_key = unpack(keys)
local reservation_id, customer_id, ttl_ms = unpack(args)

local lines, shortages = {}, {}
for i = 1, (#keys - 2) / 4 do
  local product_key, holds_key, log_key, allowance_key = unpack(keys, 4 * i - 1)
  local product_id, quantity = unpack(args, 2 * i + 2)
  local it = product(product_key, holds_key, log_key)
  if not it then
    return { 'product_not_found', product_id }
  end
  quantity = tonumber(quantity)
  local available = it.on_hand - it.reserved
  if quantity > available then
    shortages[#shortages + 1] = ('{"product_id":"%s","requested":%d,"available":%d}'):format(product_id, quantity, available)
  end
  lines[i] = {
    stock = it, product_key = product_key, allowance_key = allowance_key,
    product_id = product_id, quantity = quantity, confirmed = 0, released = 0,
  }
end
if #shortages > 0 then
  return { 'insufficient_stock', '[' .. table.concat(shortages, ',') .. ']' }
end
for i = 1, #lines do
  local line, most = lines[i], lines[i].stock.max_per_customer
  local used = most > 0 and used_of(allowance(line.allowance_key)) or 0
  if most > 0 and used + line.quantity > most then
    return { 'customer_limit_exceeded', line.product_id, customer_id, line.quantity, used, most }
  end
end
-- A look at each set tells now, before anything is written, that it is one.
for i = 1, #lines do
  redis.call('ZCARD', lines[i].stock.holds_key)
end
if redis.call('ZCARD', customer_key) > history + 256 then
  -- Bounded as a log is. Reservation ids sort by time, so the oldest are the first.
  queued[#queued + 1] = { 'ZREMRANGEBYRANK', customer_key, 0, -history - 1 }
end

local expires_at = now + ttl_ms
local it = {
  status = 'held',
  created_at = now,
  expires_at = expires_at,
  extensions = 0,
  reservation_id = reservation_id,
  customer_id = customer_id,
  lines = lines,
}
for i = 1, #lines do
  local line, stock = lines[i], lines[i].stock
  change_product(line.product_key, stock)
  stock.reserved = stock.reserved + line.quantity
  set_units_aside(stock, reservation_id, 0, line.quantity, expires_at)
  movement(stock, 'reserved', 0, line.quantity, stock.reserved, '"' .. customer_id .. '"', '"' .. reservation_id .. '"', now)
  if stock.max_per_customer > 0 then
    note_allowance(line.allowance_key, reservation_id, 0, line.quantity, expires_at)
  end
  line.remaining, line.low = stock.on_hand - stock.reserved, crossed(stock)
end
live[reservation_key] = it
change(reservation_key, encode_reservation)
queued[#queued + 1] = { 'ZADD', customer_key, 0, reservation_id }
-- As long as any of them can be remembered: 30 days of holding and 7 more.
queued[#queued + 1] = { 'PEXPIRE', customer_key, 37 * 24 * 3600 * 1000 }

return { 'ok', reservation_json(it) }
