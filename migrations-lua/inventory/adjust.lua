--[[
Changes the units on hand of a product.

KEYS
  product_key           record  product
  holds_key             zset    holds
  log_key               log     movements

ARGV
  product_id            id
  delta                 units, below zero to take away
  reason                received, returned, damaged, lost, counted or other
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

delta, expected_on_hand = tonumber(delta), tonumber(expected_on_hand)
local product = open_product(product_key, holds_key, log_key)
if not product then
  return { 'product_not_found', product_id }
end
if expected_on_hand and expected_on_hand ~= product.on_hand then
  return { 'quantity_stale', product_id, expected_on_hand, product.on_hand }
end
local previous, on_hand = product.on_hand, product.on_hand + delta
if on_hand < product.reserved then
  return { 'stock_below_reserved', product_id, product.on_hand, product.reserved, delta }
end
if on_hand > MAX_QUANTITY then
  return { 'stock_out_of_range', product_id, product.on_hand, delta, MAX_QUANTITY, replayable = false }
end
local before, total_of_reason, after = product.rest:match('^(.-"' .. reason .. '":)(-?%d+)(,.*)$')
if not before then
  fail_corrupt(product_key, 'a product')
end

change_product(product_key, product)
product.rest = before .. ('%d'):format(total_of_reason + delta) .. after
product.on_hand = on_hand
append_movement(product, reason, delta, 0, product.reserved, 'null', reference, now)
local low = low_stock_change(product)

return {
  'ok', product_id, delta, reason, reference, previous, on_hand, product.reserved, on_hand - product.reserved, product.version,
  low ~= nil and tostring(low),
}
