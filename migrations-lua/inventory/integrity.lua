--[[
Recompute the stock of some products of a space from what has changed it, and what is reserved from
the live holds.

READ ONLY

KEYS
  index_key              sorted set of the space's product ids
  * product_key          product
  * holds_key            sorted set of holds
  * log_key              log of movements

ARGV
  after                  id to go on after, or nothing to begin
  count                  how many ids to name
  * product_id           id

REPLY
  ok                     products:json next
]]
--- @include "lib/product"

local index_key = unpack(keys)
local after, count = unpack(args)

-- More holds than that are not added up, because it would keep Redis from everybody else.
local MOST_HOLDS = 2000

local products = {}
for i = 1, (#keys - 1) / 3 do
  local product_key, holds_key, log_key = unpack(keys, 3 * i - 1)
  local product_id = unpack(args, i + 2)
  local it = product(product_key, holds_key, log_key) or broken(product_key, 'a product')
  local expected = -it.sold
  for number in (it.rest:match('^(.-),"price"') or ''):gmatch('":(-?%d+)') do
    expected = expected + number
  end
  local sound = expected == it.on_hand
  local count_of_holds = redis.call('ZCARD', holds_key)
  if count_of_holds <= MOST_HOLDS then
    local holds, held = count_of_holds > 0 and redis.call('ZRANGEBYSCORE', holds_key, '(' .. now, '+inf') or {}, 0
    for j = 1, #holds do
      held = held + (holds[j]:match('^(%d+):') or broken(holds_key, 'holds'))
    end
    sound = sound and held == it.reserved
  end
  products[i] = ('{"product_id":"%s","on_hand":%d,"reserved":%d,"sold":%d,"ok":%s}'):format(
    product_id, it.on_hand, it.reserved, it.sold, tostring(sound)
  )
end
local start = after == '' and '-' or '(' .. after
return { 'ok', products, redis.call('ZRANGEBYLEX', index_key, start, '+', 'LIMIT', 0, count) }
