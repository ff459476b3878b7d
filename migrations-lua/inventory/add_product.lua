--[[
Adds a product with its initial stock.

KEYS
  product_key       record  product
  holds_key         zset    holds
  log_key           log     movements
  index_key         zset    the space's product ids

ARGV
  product_id          id
  name                JSON, a string
  description         JSON, a string or null
  price               minor units
  currency            code
  scale               decimals of the currency
  initial_stock       units
  low_stock           units, 0 for no limit
  max_per_customer    units, 0 for no limit
  metadata            JSON, an object of strings

REPLY
  ok                  product:json
  product_exists      product_id
]]
--- @include "lib/product"
--- @include "lib/product_json"
--- @include "lib/adjustment"

if open_product(product_key, holds_key, log_key) then
  return { 'product_exists', product_id }
end
local product = new_product(product_key, holds_key, log_key, {
  on_hand = tonumber(initial_stock),
  low_stock = tonumber(low_stock),
  max_per_customer = tonumber(max_per_customer),
  details = pack_details({
    initial = tonumber(initial_stock), received = 0, returned = 0, damaged = 0, lost = 0, counted = 0, other = 0,
    price = price, currency = currency, scale = tonumber(scale), created_at = now,
    name = name, description = description, metadata = metadata,
  }),
})
write_product(product_key, product)
append_adjustment(product, 'initial', product.on_hand, 'null')
add_member(index_key, 0, product_id)

return { 'ok', product_json(product_id, product) }
