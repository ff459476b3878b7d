--[[
Walk through the products of a space: tell about those that the call before named, and name the
next ones.

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
--- @include "lib/product_json"

local index_key = unpack(keys)
local after, count = unpack(args)

local products = {}
for i = 1, (#keys - 1) / 3 do
  local product_key, holds_key, log_key = unpack(keys, 3 * i - 1)
  local product_id = unpack(args, i + 2)
  local it = product(product_key, holds_key, log_key) or broken(product_key, 'a product')
  products[i] = product_json(product_id, it)
end
local start = after == '' and '-' or '(' .. after
return { 'ok', products, redis.call('ZRANGEBYLEX', index_key, start, '+', 'LIMIT', 0, count) }
