--[[
Returns the products whose ids the previous page named, and the ids of the next page.

READ ONLY

KEYS
  index_key      zset    the space's product ids
  * product_key  record  product
  * holds_key    zset    holds
  * log_key      log     movements

ARGV
  after                  id to go on after, or nothing to begin
  count                  how many ids to name
  * product_id           id

REPLY
  ok                     products:json next
]]
--- @include "lib/product"
--- @include "lib/product_json"
--- @include "lib/index_page"

local products = {}
for i = 1, line_count() do
  local product_key, holds_key, log_key = keys_of_line(i)
  local product_id = args_of_line(i)
  local product = open_product(product_key, holds_key, log_key) or fail_corrupt(product_key, 'a product')
  products[i] = product_json(product_id, product)
end
return { 'ok', products, ids_after(index_key, after, count) }
