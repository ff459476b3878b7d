--[[
Set units of one or several products aside, all lines or none.

KEYS
  reservation_key        reservation
  * product_key          product
  * holds_key            sorted set of holds

ARGV
  reservation_id         minted
  customer_id            id
  ttl_ms                 how long the units are held
  * product_id           id, each product once
  * quantity             units

REPLY
  ok                     reservation_id customer_id status lines:json created_at expires_at
  product_not_found      product_id
  insufficient_stock     shortages:json
]]
--- @include "lib/product"
--- @include "lib/reservation"

local reservation_key = unpack(keys)
local reservation_id, customer_id, ttl_ms = unpack(args)

local lines, shortages = {}, {}
for i = 1, (#keys - 1) / 2 do
  local product_key, holds_key = unpack(keys, 2 * i)
  local product_id, quantity = unpack(args, 2 * i + 2)
  local it = product(product_key, holds_key)
  if not it then
    return { 'product_not_found', product_id }
  end
  quantity = tonumber(quantity)
  local available = it.on_hand - it.reserved
  if quantity > available then
    shortages[#shortages + 1] = ('{"product_id":"%s","requested":%d,"available":%d}'):format(product_id, quantity, available)
  end
  lines[i] = { it = it, product_key = product_key, product_id = product_id, quantity = quantity }
end
if #shortages > 0 then
  return { 'insufficient_stock', '[' .. table.concat(shortages, ',') .. ']' }
end
for i = 1, #lines do
  -- A look at each set tells now, before anything is written, that it is one.
  redis.call('ZCARD', lines[i].it.holds_key)
end

local expires_at = now + ttl_ms
local told = {}
for i = 1, #lines do
  local line, it = lines[i], lines[i].it
  it.reserved = it.reserved + line.quantity
  if it.next_due == 0 or expires_at < it.next_due then
    it.next_due = expires_at
  end
  it.new_holds[#it.new_holds + 1] = expires_at
  it.new_holds[#it.new_holds + 1] = ('%d:%s'):format(line.quantity, reservation_id)
  change_product(line.product_key, it)
  told[i] = ('{"product_id":"%s","quantity":%d,"remaining":%d}'):format(line.product_id, line.quantity, it.on_hand - it.reserved)
end
local kept = new_reservation(reservation_key, reservation_id, customer_id, '[' .. table.concat(told, ',') .. ']', expires_at)

return { 'ok', reservation_id, customer_id, kept.status, kept.lines, kept.created_at, kept.expires_at }
