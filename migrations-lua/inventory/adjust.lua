--[[
Change the units on hand of a product.

KEYS
  product_key           product
  holds_key             sorted set of holds
  log_key               log of movements

ARGV
  product_id            id
  delta                 units, below zero to take away
  reason                word
  reference             JSON, a string or null
  expected_on_hand      units, or nothing to expect nothing

REPLY
  ok                    product_id delta reason reference:json previous_on_hand on_hand reserved available version low_stock:json
  product_not_found     product_id
  quantity_stale        product_id expected_on_hand on_hand
  stock_below_reserved  product_id on_hand reserved delta
  stock_out_of_range    product_id on_hand delta max_on_hand
]]
--- @include "lib/product"

local product_key, holds_key, log_key = unpack(keys)
local product_id, delta, reason, reference, expected_on_hand = unpack(args)

delta, expected_on_hand = tonumber(delta), tonumber(expected_on_hand)
local it = product(product_key, holds_key, log_key)
if not it then
  return { 'product_not_found', product_id }
end
if expected_on_hand and expected_on_hand ~= it.on_hand then
  return { 'quantity_stale', product_id, expected_on_hand, it.on_hand }
end
local previous, on_hand = it.on_hand, it.on_hand + delta
if on_hand < it.reserved then
  return { 'stock_below_reserved', product_id, it.on_hand, it.reserved, delta }
end
if on_hand > MAX_QUANTITY then
  return { 'stock_out_of_range', product_id, it.on_hand, delta, MAX_QUANTITY, forget = true }
end
local before, total_of_reason, after = it.rest:match('^(.-"' .. reason .. '":)(-?%d+)(,.*)$')
if not before then
  broken(product_key, 'a product')
end

change_product(product_key, it)
it.rest = before .. ('%d'):format(total_of_reason + delta) .. after
it.on_hand = on_hand
movement(it, reason, delta, 0, it.reserved, 'null', reference, now)
local low = crossed(it)

return {
  'ok', product_id, delta, reason, reference, previous, on_hand, it.reserved, on_hand - it.reserved, it.version,
  low ~= nil and tostring(low),
}
