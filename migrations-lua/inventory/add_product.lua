--[[
Add a product with its initial stock.

KEYS
  product_key         product
  holds_key           sorted set of holds
  log_key             log of movements
  index_key           sorted set of the space's product ids

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
--- @include "lib/product_json"

local product_key, holds_key, log_key, index_key = unpack(keys)
local product_id, name, description, price, currency, scale, initial_stock, low_stock, max_per_customer, metadata = unpack(args)

if product(product_key, holds_key, log_key) then
  return { 'product_exists', product_id }
end
-- A look at the index tells now, before anything is written, that it is one.
redis.call('ZSCORE', index_key, product_id)
local it = {
  on_hand = tonumber(initial_stock),
  reserved = 0,
  sold = 0,
  next_due = 0,
  movements = 0,
  version = 1,
  low_stock = tonumber(low_stock),
  low = tonumber(initial_stock) < tonumber(low_stock),
  max_per_customer = tonumber(max_per_customer),
  rest = '"initial":' .. initial_stock .. ',"received":0,"returned":0,"damaged":0,"lost":0,"counted":0,"other":0,'
    .. '"price":"' .. price .. '","currency":"' .. currency .. '","scale":' .. scale .. ',"created_at":' .. now
    .. ',"name":' .. name .. ',"description":' .. description .. ',"metadata":' .. metadata,
  ended = {},
  written = 0,
  holds_key = holds_key,
  log_key = log_key,
}
live[product_key] = it
write_product(product_key, it)
movement(it, 'initial', it.on_hand, 0, 0, 'null', 'null', now)
queued[#queued + 1] = { 'ZADD', index_key, 0, product_id }

return { 'ok', product_json(product_id, it) }
