--[[
Returns the products whose ids the previous page named, and the ids of the next page. A product without a
sound record is left out.

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
--- @include "lib/damage"
--- @include "lib/index_page"

-- Text that is no JSON would make the whole page unreadable.
local function listed_product(product_id, product_key, holds_key, log_key)
  local product = open_product(product_key, holds_key, log_key)
  if product and not product.details:find('}$') then
    fail_corrupt(product_key, 'a product')
  end
  return product and product_json(product_id, product)
end

local products = {}
for i = 1, line_count() do
  local product_key, holds_key, log_key = keys_of_line(i)
  local product_id = args_of_line(i)
  products[#products + 1] = unless_damaged(listed_product, product_id, product_key, holds_key, log_key)
end
return { 'ok', products, ids_after(index_key, after, count) }
