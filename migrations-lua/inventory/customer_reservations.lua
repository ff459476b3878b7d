--[[
Walk through the reservations of a customer, newest first: tell about those that the call before
named, and name the next ones.

READ ONLY

KEYS
  customer_key           sorted set of the customer's reservations
  * reservation_key      reservation

ARGV
  before                 id to go on before, or nothing to begin with the newest
  count                  how many ids to name

REPLY
  ok                     reservations:json next
]]
--- @include "lib/reservation"

local customer_key = unpack(keys)
local before, count = unpack(args)

local reservations = {}
for i = 2, #keys do
  local reservation_key = unpack(keys, i)
  -- One that is not remembered any more may still be named.
  local it = reservation(reservation_key)
  reservations[#reservations + 1] = it and reservation_json(it)
end
local start = before == '' and '+' or '(' .. before
return { 'ok', reservations, redis.call('ZREVRANGEBYLEX', customer_key, start, '-', 'LIMIT', 0, count) }
