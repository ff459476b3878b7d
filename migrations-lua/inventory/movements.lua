--[[
Page through the movements of a product.

READ ONLY

KEYS
  product_key            product
  holds_key              sorted set of holds
  log_key                log of movements

ARGV
  product_id             id
  newest                 number of the first movement of the page, or nothing for the newest
  limit                  the most movements to answer

REPLY
  ok                     newest movements:json trimmed
  product_not_found      product_id
]]
--- @include "lib/product"

local product_key, holds_key, log_key = unpack(keys)
local product_id, newest, limit = unpack(args)

local it = product(product_key, holds_key, log_key)
if not it then
  return { 'product_not_found', product_id }
end

-- As in an account's log, the number n stays where it is while newer ones arrive.
newest = newest == '' and it.movements or math.min(tonumber(newest), it.movements)
local last = newest - it.movements - 1
local page = redis.call('LRANGE', log_key, last - limit + 1, last)
return { 'ok', newest, page, it.movements - redis.call('LLEN', log_key) }
