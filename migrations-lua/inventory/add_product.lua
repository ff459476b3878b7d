--[[
Add a product with its initial stock.

KEYS
  product_key         product
  holds_key           sorted set of holds

ARGV
  product_id          id
  name                JSON, a string
  description         JSON, a string or null
  price               minor units
  currency            code
  scale               decimals of the currency
  initial_stock       units
  metadata            JSON, an object of strings

REPLY
  ok                  product_id name:json description:json price currency on_hand reserved available sold metadata:json version created_at
  product_exists      product_id
]]
--- @include "lib/product_fields"

local product_key, holds_key = unpack(keys)
local product_id, name, description, price, currency, scale, initial_stock, metadata = unpack(args)

if product(product_key, holds_key) then
  return { 'product_exists', product_id }
end
local it = {
  on_hand = tonumber(initial_stock),
  reserved = 0,
  sold = 0,
  next_due = 0,
  version = 0,
  rest = '"price":"' .. price .. '","currency":"' .. currency .. '","scale":' .. scale .. ',"created_at":' .. now
    .. ',"name":' .. name .. ',"description":' .. description .. ',"metadata":' .. metadata,
  holds_key = holds_key,
  new_holds = {},
}
live[product_key] = it
change_product(product_key, it)

return { 'ok', product_fields(product_id, it) }
