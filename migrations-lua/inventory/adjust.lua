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
  total_out_of_range    product_id figure total delta max_total
]]
--- @include "lib/product"
--- @include "lib/product_limits"
--- @include "lib/product_details"
--- @include "lib/adjustment"

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
local details = unpack_details(product)
local sum = details[reason] + delta
if sum > MAX_TOTAL or sum < -MAX_TOTAL then
  return { 'total_out_of_range', product_id, reason, details[reason], delta, MAX_TOTAL, replayable = false }
end

change_product(product_key, product)
details[reason] = sum
product.details = pack_details(details)
product.on_hand = on_hand
append_adjustment(product, reason, delta, reference)
local low = low_stock_change(product)

return {
  'ok', product_id, delta, reason, reference, previous, on_hand, product.reserved, on_hand - product.reserved, product.version,
  low ~= nil and tostring(low),
}
