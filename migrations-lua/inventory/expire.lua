--[[
Takes back the units of reservations that have ended, at most 1,000 at a time.

INTERNAL

KEYS
  product_key  record  product
  holds_key    zset    its holds
  log_key      log     movements

ARGV

REPLY
  ok                     more
]]
--- @include "lib/product"

if open_records[product_key] then
  -- Another step of this script has taken them back already; the set still has them.
  return { 'ok', 1 }
end
local product = open_record(product_key, decode_product)
if not product or product.next_due == 0 or product.next_due > now then
  return { 'ok', 0 }
end
product.holds_key, product.log_key = holds_key, log_key
local more = take_back_units(product)
write_product(product_key, product)
return { 'ok', more and 1 or 0 }
