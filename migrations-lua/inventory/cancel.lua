--[[
Gives the units of a reservation back.

KEYS
  reservation_key        record  reservation
  * product_key          record  product, where the reservation is known
  * holds_key            zset    holds
  * log_key              log     movements
  * allowance_key        record  what the customer has of the product

ARGV
  reservation_id         id
  id_bytes               the 16 bytes of the id

REPLY
  ok                     reservation:json
  reservation_not_found  reservation_id
  reservation_expired    reservation_id expired_at:instant
  reservation_closed     reservation_id reservation_status
]]
--- @include "lib/reservation"
--- @include "lib/allowance"

local reservation = open_reservation(reservation_key)
if not reservation or line_count() == 0 then
  return { 'reservation_not_found', reservation_id }
end
local refusal = check_reservation_open(reservation_id, reservation)
if refusal then
  return refusal
end
if not open_lines(reservation, id_bytes) then
  return { 'reservation_expired', reservation_id, reservation.expires_at }
end

for i = 1, #reservation.lines do
  local line, product = reservation.lines[i], reservation.lines[i].product
  local held = held_units(line)
  if held > 0 then
    change_product(line.product_key, product)
    product.reserved = product.reserved - held
    append_movement(product, RELEASED, held, product.reserved, id_bytes, reservation.customer_id, now)
    move_hold(product, id_bytes, held, 0, reservation.expires_at)
    if is_counted(product, line.allowance_key) then
      change_allowance(line.allowance_key, reservation_id, 0, 0, reservation.expires_at)
    end
    line.released = line.released + held
    line.low = low_stock_change(product)
  end
  line.remaining = product.on_hand - product.reserved
end
reservation.status = 'cancelled'
mark_dirty(reservation_key, encode_reservation)

return { 'ok', reservation_json(reservation) }
