--[[
Returns a product with the units on hand, reserved and available.

READ ONLY

KEYS
  product_key        record  product
  holds_key          zset    holds
  log_key            log     movements

ARGV
  product_id          id

REPLY
  ok                  product:json
  product_not_found   product_id
]]
--- @include "lib/product"
--- @include "lib/product_json"

local product = open_product(product_key, holds_key, log_key)
if not product then
  return { 'product_not_found', product_id }
end

return { 'ok', product_json(product_id, product) }
