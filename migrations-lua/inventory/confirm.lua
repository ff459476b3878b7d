--[[
Sell the units of a reservation, all of them or some, and release or keep the rest.

KEYS
  reservation_key          reservation
  * product_key            product, where the reservation is known
  * holds_key              sorted set of holds
  * log_key                log of movements
  * allowance_key          what the customer has of the product

ARGV
  reservation_id           id
  remainder                release or keep
  * product_id             id, each product once; none for all of them
  * quantity               units

REPLY
  ok                       reservation:json
  reservation_not_found    reservation_id
  reservation_expired      reservation_id expired_at:instant
  reservation_closed       reservation_id reservation_status
  confirm_exceeds_reserved  reservation_id product_id held requested
]]
--- @include "lib/reservation"
--- @include "lib/allowance"

local reservation_key = unpack(keys)
local reservation_id, remainder = unpack(args)

local it = reservation(reservation_key)
if not it or #keys == 1 then
  return { 'reservation_not_found', reservation_id }
end
local refusal = reservation_ended(reservation_id, it)
if refusal then
  return refusal
end
local wanted, held = {}, {}
for i = 1, #it.lines do
  held[it.lines[i].product_id] = held_of(it.lines[i])
  wanted[it.lines[i].product_id] = #args == 2 and held_of(it.lines[i]) or 0
end
for i = 1, (#args - 2) / 2 do
  local product_id, quantity = unpack(args, 2 * i + 1)
  local has = held[product_id] or 0
  if tonumber(quantity) > has then
    return { 'confirm_exceeds_reserved', reservation_id, product_id, has, tonumber(quantity) }
  end
  wanted[product_id] = tonumber(quantity)
end
for i = 1, #it.lines do
  local product_key, holds_key, log_key, allowance_key = unpack(keys, 4 * i - 2)
  open_line(it, it.lines[i], product_key, holds_key, log_key, allowance_key)
end

local actor, reference = '"' .. it.customer_id .. '"', '"' .. reservation_id .. '"'
local left_in_all = 0
for i = 1, #it.lines do
  local line, stock = it.lines[i], it.lines[i].stock
  local before, sold = held_of(line), wanted[line.product_id]
  local left = before - sold
  local released = remainder == 'release' and left or 0
  left = left - released
  if sold > 0 or released > 0 then
    change_product(line.product_key, stock)
    if sold > 0 then
      stock.on_hand, stock.reserved, stock.sold = stock.on_hand - sold, stock.reserved - sold, stock.sold + sold
      movement(stock, 'sold', -sold, -sold, stock.reserved, actor, reference, now)
    end
    if released > 0 then
      stock.reserved = stock.reserved - released
      movement(stock, 'released', 0, -released, stock.reserved, actor, reference, now)
    end
    set_units_aside(stock, reservation_id, before, left, it.expires_at)
    if is_counted(stock, line.allowance_key) then
      note_allowance(line.allowance_key, reservation_id, sold, left, it.expires_at)
    end
    line.confirmed, line.released = line.confirmed + sold, line.released + released
    line.low = crossed(stock)
  end
  line.remaining = stock.on_hand - stock.reserved
  left_in_all = left_in_all + left
end
if left_in_all == 0 then
  it.status = 'confirmed'
end
change(reservation_key, encode_reservation)

return { 'ok', reservation_json(it) }
