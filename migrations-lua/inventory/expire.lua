--[[
Take back the units of reservations that have ended, so many as one go allows.

INTERNAL

KEYS
  product_key            product
  holds_key              sorted set of its holds
  log_key                log of movements

ARGV

REPLY
  ok                     more
]]
--- @include "lib/product"

local product_key, holds_key, log_key = unpack(keys)

local it = live[product_key]
if it then
  -- Another step of this script has just taken back what this one would; the set still has it.
  return { 'ok', 1 }
end
local text = stored(product_key)
it = text and decode_product(product_key, text)
if not it or it.next_due == 0 or it.next_due > now then
  return { 'ok', 0 }
end
it.holds_key, it.log_key = holds_key, log_key
live[product_key] = it
local more = take_units_back(it)
write_product(product_key, it)
return { 'ok', more and 1 or 0 }
