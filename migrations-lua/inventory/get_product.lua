--[[
Tell what is on hand, reserved and available of a product.

READ ONLY

KEYS
  product_key         product
  holds_key           sorted set of holds

ARGV
  product_id          id

REPLY
  ok                  product_id name:json description:json price currency on_hand reserved available sold metadata:json version created_at
  product_not_found   product_id
]]
--- @include "lib/product_fields"

local product_key, holds_key = unpack(keys)
local product_id = unpack(args)

local it = product(product_key, holds_key)
if not it then
  return { 'product_not_found', product_id }
end

return { 'ok', product_fields(product_id, it) }
