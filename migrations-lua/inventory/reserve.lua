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
  id_bytes                 generated, the 16 bytes of the id
  customer_id              id
  ttl_ms                   how long the units are held
  * product_id             id, each product once
  * quantity               units

REPLY
  ok                       reservation_id created_at:instant expires_at:instant stock
  product_not_found        product_id
  insufficient_stock       shortages:json
  customer_limit_exceeded  product_id customer_id requested used max_per_customer
]]
--- @include "lib/product"
--- @include "lib/reservation_layout"
--- @include "lib/allowance"

local DAY_MS = 86400000
-- The longest life of a reservation: 30 days of holding and 7 more.
local CUSTOMER_TTL_MS = 37 * DAY_MS

local last_line, shortages, over_limit = line_count(), nil, nil
for i = 1, last_line do
  local product_key, holds_key, log_key, allowance_key = keys_of_line(i)
  local product_id, quantity = args_of_line(i)
  local product = open_product(product_key, holds_key, log_key)
  if not product then
    return { 'product_not_found', product_id }
  end
  local available, most = product.on_hand - product.reserved, product.max_per_customer
  if tonumber(quantity) > available then
    shortages = (shortages and shortages .. ',' or '')
      .. ('{"product_id":"%s","requested":%d,"available":%d}'):format(product_id, quantity, available)
  end
  if most > 0 and not over_limit then
    local used = units_used(open_allowance(allowance_key))
    over_limit = used + quantity > most and { 'customer_limit_exceeded', product_id, customer_id, tonumber(quantity), used, most }
  end
end
if shortages then
  return { 'insufficient_stock', '[' .. shortages .. ']' }
end
if over_limit then
  return over_limit
end

local expires_at = now + ttl_ms
local record, stock = struct.pack(RESERVATION, 1, STATUS_HELD, 0, now, expires_at, customer_id), {}
for i = 1, last_line do
  local product_key, _, _, allowance_key = keys_of_line(i)
  local product_id, quantity = args_of_line(i)
  local product = open_records[product_key]
  quantity = tonumber(quantity)
  change_product(product_key, product)
  product.reserved = product.reserved + quantity
  move_hold(product, id_bytes, 0, quantity, expires_at)
  append_movement(product, RESERVED, quantity, product.reserved, id_bytes, customer_id, now)
  if product.max_per_customer > 0 then
    change_allowance(allowance_key, reservation_id, 0, quantity, expires_at)
  end
  record = record .. struct.pack(LINE, product_id, quantity, 0, 0)
  local low = low_stock_change(product)
  stock[2 * i - 1], stock[2 * i] = product.on_hand - product.reserved, low and 1 or low == false and 0 or -1
end
create_record(reservation_key, record, ttl_ms + RESERVATION_KEPT_MS)
add_member(customer_key, now_us, reservation_id)
if redis.call('PTTL', customer_key) < CUSTOMER_TTL_MS then
  -- A day more than is needed, so that it is set once a day and not by every call.
  local expiry = { 'PEXPIRE', customer_key, CUSTOMER_TTL_MS + DAY_MS }
  queue_addition(expiry, expiry)
end
if redis.call('ZCARD', customer_key) > history + 256 then
  -- The set is bounded as a log is. Its scores are instants of Redis' clock, so the oldest come first.
  queue_cleanup('ZREMRANGEBYRANK', customer_key, 0, -history - 1)
end

return { 'ok', reservation_id, now, expires_at, stock }
