--[[
Returns one page of the movements of a product, newest first.

READ ONLY

KEYS
  product_key        record  product
  holds_key          zset    holds
  log_key            log     movements

ARGV
  product_id             id
  newest                 number of the first movement of the page, or nothing for the newest
  limit                  the most movements to answer

REPLY
  ok                     newest movements trimmed
  product_not_found      product_id
]]
--- @include "lib/product"
--- @include "lib/log_page"

local product = open_product(product_key, holds_key, log_key)
if not product then
  return { 'product_not_found', product_id }
end

local page
page, newest = log_page(log_key, product.movements, newest, limit)
return { 'ok', newest, page, product.movements - redis.call('LLEN', log_key) }
