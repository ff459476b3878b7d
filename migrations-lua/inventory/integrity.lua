--[[
Recomputes the stock of some products from the sums of what changed it, and the reserved units from the
live holds.

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
--- @include "lib/product_hold"
--- @include "lib/product_details"
--- @include "lib/index_page"

-- The most holds of one product that are added up: more would block Redis for too long.
local MAX_HOLDS = 2000

local products = {}
for i = 1, line_count() do
  local product_key, holds_key, log_key = keys_of_line(i)
  local product_id = args_of_line(i)
  local product = open_product(product_key, holds_key, log_key) or fail_corrupt(product_key, 'a product')
  local details = unpack_details(product)
  local expected = details.initial + details.received + details.returned + details.damaged + details.lost + details.counted
    + details.other - product.sold
  local sound = expected == product.on_hand
  local hold_count = redis.call('ZCARD', holds_key)
  if hold_count <= MAX_HOLDS then
    local holds, held = hold_count > 0 and redis.call('ZRANGEBYSCORE', holds_key, '(' .. now, '+inf') or {}, 0
    for j = 1, #holds do
      held = held + held_by(holds_key, holds[j])
    end
    sound = sound and held == product.reserved
  end
  products[i] = ('{"product_id":"%s","on_hand":%d,"reserved":%d,"sold":%d,"ok":%s}'):format(
    product_id, product.on_hand, product.reserved, product.sold, tostring(sound)
  )
end
return { 'ok', products, ids_after(index_key, after, count) }
