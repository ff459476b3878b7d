--[[
Tell what is on hand, reserved and available of a product.

READ ONLY

KEYS
  product_key         product
  holds_key           sorted set of holds
  log_key             log of movements

ARGV
  product_id          id

REPLY
  ok                  product:json
  product_not_found   product_id
]]
--- @include "lib/product_json"

local product_key, holds_key, log_key = unpack(keys)
local product_id = unpack(args)

local it = product(product_key, holds_key, log_key)
if not it then
  return { 'product_not_found', product_id }
end

return { 'ok', product_json(product_id, it) }
