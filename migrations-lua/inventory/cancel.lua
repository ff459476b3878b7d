--[[
Give the units of a reservation back.

KEYS
  reservation_key        reservation
  * product_key          product, where the reservation is known
  * holds_key            sorted set of holds
  * log_key              log of movements
  * allowance_key        what the customer has of the product

ARGV
  reservation_id         id

REPLY
  ok                     reservation:json
  reservation_not_found  reservation_id
  reservation_expired    reservation_id expired_at:instant
  reservation_closed     reservation_id reservation_status
]]
--- @include "lib/reservation"
--- @include "lib/allowance"

local reservation_key = unpack(keys)
local reservation_id = unpack(args)

local it = reservation(reservation_key)
if not it or #keys == 1 then
  return { 'reservation_not_found', reservation_id }
end
local refusal = reservation_ended(reservation_id, it)
if refusal then
  return refusal
end
for i = 1, #it.lines do
  local product_key, holds_key, log_key, allowance_key = unpack(keys, 4 * i - 2)
  open_line(it, it.lines[i], product_key, holds_key, log_key, allowance_key)
end

for i = 1, #it.lines do
  local line, stock = it.lines[i], it.lines[i].stock
  local held = held_of(line)
  if held > 0 then
    change_product(line.product_key, stock)
    stock.reserved = stock.reserved - held
    movement(stock, 'released', 0, -held, stock.reserved, '"' .. it.customer_id .. '"', '"' .. reservation_id .. '"', now)
    set_units_aside(stock, reservation_id, held, 0, it.expires_at)
    if is_counted(stock, line.allowance_key) then
      note_allowance(line.allowance_key, reservation_id, 0, 0, it.expires_at)
    end
    line.released = line.released + held
    line.low = crossed(stock)
  end
  line.remaining = stock.on_hand - stock.reserved
end
it.status = 'cancelled'
change(reservation_key, encode_reservation)

return { 'ok', reservation_json(it) }
