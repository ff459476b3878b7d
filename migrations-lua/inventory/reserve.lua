--[[
Reserves units of one or several products, all lines or none.

KEYS
  reservation_key          new     reservation
  customer_key             zset    the customer's reservations
  * product_key            record  product
  * holds_key              zset    holds
  * log_key                log     movements
  * allowance_key          record  what the customer has of the product

ARGV
  reservation_id           generated
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

local lines, shortages = {}, {}
for i = 1, line_count() do
  local product_key, holds_key, log_key, allowance_key = keys_of_line(i)
  local product_id, quantity = args_of_line(i)
  local product = open_product(product_key, holds_key, log_key)
  if not product then
    return { 'product_not_found', product_id }
  end
  quantity = tonumber(quantity)
  local available = product.on_hand - product.reserved
  if quantity > available then
    shortages[#shortages + 1] = ('{"product_id":"%s","requested":%d,"available":%d}'):format(product_id, quantity, available)
  end
  lines[i] = {
    product = product, product_key = product_key, allowance_key = allowance_key,
    product_id = product_id, quantity = quantity, confirmed = 0, released = 0,
  }
end
if #shortages > 0 then
  return { 'insufficient_stock', '[' .. table.concat(shortages, ',') .. ']' }
end
for i = 1, #lines do
  local line, most = lines[i], lines[i].product.max_per_customer
  local used = most > 0 and units_used(open_allowance(line.allowance_key)) or 0
  if most > 0 and used + line.quantity > most then
    return { 'customer_limit_exceeded', line.product_id, customer_id, line.quantity, used, most }
  end
end
if redis.call('ZCARD', customer_key) > history + 256 then
  -- The set is bounded as a log is. Its scores are instants of Redis' clock, so the oldest come first.
  queue_cleanup('ZREMRANGEBYRANK', customer_key, 0, -history - 1)
end

local expires_at = now + ttl_ms
local reservation = {
  status = 'held',
  created_at = now,
  expires_at = expires_at,
  extensions = 0,
  reservation_id = reservation_id,
  customer_id = customer_id,
  lines = lines,
}
for i = 1, #lines do
  local line, product = lines[i], lines[i].product
  change_product(line.product_key, product)
  product.reserved = product.reserved + line.quantity
  move_hold(product, reservation_id, 0, line.quantity, expires_at)
  append_movement(product, 'reserved', 0, line.quantity, product.reserved, '"' .. customer_id .. '"', '"' .. reservation_id .. '"', now)
  if product.max_per_customer > 0 then
    change_allowance(line.allowance_key, reservation_id, 0, line.quantity, expires_at)
  end
  line.remaining, line.low = product.on_hand - product.reserved, low_stock_change(product)
end
open_records[reservation_key] = reservation
mark_dirty(reservation_key, encode_reservation)
add_member(customer_key, now_us, reservation_id)
-- The longest life of a record in it: 30 days of holding and 7 more.
local expiry = { 'PEXPIRE', customer_key, 37 * 24 * 3600 * 1000 }
queue_addition(expiry, expiry)

return { 'ok', reservation_json(reservation) }
