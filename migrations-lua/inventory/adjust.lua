--[[
Change the units on hand of a product.

KEYS
  product_key           product
  holds_key             sorted set of holds

ARGV
  product_id            id
  delta                 units, below zero to take away
  reason                word
  reference             JSON, a string or null
  expected_on_hand      units, or nothing to expect nothing

REPLY
  ok                    product_id delta reason reference:json previous_on_hand on_hand reserved available version
  product_not_found     product_id
  quantity_stale        product_id expected_on_hand on_hand
  stock_below_reserved  product_id on_hand reserved delta
  stock_out_of_range    product_id on_hand delta max_on_hand
]]
--- @include "lib/product"

local product_key, holds_key = unpack(keys)
local product_id, delta, reason, reference, expected_on_hand = unpack(args)

delta, expected_on_hand = tonumber(delta), tonumber(expected_on_hand)
local it = product(product_key, holds_key)
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

it.on_hand = on_hand
change_product(product_key, it)

return { 'ok', product_id, delta, reason, reference, previous, on_hand, it.reserved, on_hand - it.reserved, it.version }
