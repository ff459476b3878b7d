--[[
Recomputes the stock of some products from the sums of what changed it, and the reserved units from the
live holds. It names the products of which something is missing.

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
--- @include "lib/damage"
--- @include "lib/index_page"

-- The most holds of one product that are added up: more would block Redis for too long.
local MAX_HOLDS = 2000

-- Returns true if the units on hand are what the changes add up to.
local function has_sound_stock(product)
  local details = unpack_details(product)
  local expected = details.initial + details.received + details.returned + details.damaged + details.lost + details.counted
    + details.other - product.sold
  return expected == product.on_hand
end

-- Returns true if the reserved units are what the live holds add up to, or the holds are too many to add up.
local function has_sound_holds(product, holds_key)
  local hold_count = redis.call('ZCARD', holds_key)
  if hold_count > MAX_HOLDS then
    return true
  end
  local holds, held = hold_count > 0 and redis.call('ZRANGEBYSCORE', holds_key, '(' .. now, '+inf') or {}, 0
  for i = 1, #holds do
    held = held + held_by(holds_key, holds[i])
  end
  return held == product.reserved
end

-- Returns true if the log of a product has fewer movements than any `--history` keeps.
local MIN_HISTORY = 100
local function has_lost_movements(product, log_key)
  return redis.call('LLEN', log_key) < math.min(product.movements, MIN_HISTORY)
end

-- Returns the damage of a product, nil where it has none.
local function damage_of(product, holds_key, log_key)
  return not has_sound_stock(product) and 'stock' or not has_sound_holds(product, holds_key) and 'holds'
    or has_lost_movements(product, log_key) and 'movements' or nil
end

local products = {}
for i = 1, line_count() do
  local product_key, holds_key, log_key = keys_of_line(i)
  local product_id = args_of_line(i)
  local product, damage = unless_damaged(open_product, product_key, holds_key, log_key)
  local figures = ''
  if product then
    figures = (',"on_hand":%d,"reserved":%d,"sold":%d'):format(product.on_hand, product.reserved, product.sold)
    local reason
    reason, damage = unless_damaged(damage_of, product, holds_key, log_key)
    damage = reason or damage
  else
    damage = damage or 'missing'
  end
  products[i] = ('{"product_id":"%s"%s,"ok":%s,"damage":%s}'):format(
    product_id, figures, tostring(not damage), damage and '"' .. damage .. '"' or 'null'
  )
end
return { 'ok', products, ids_after(index_key, after, count) }
