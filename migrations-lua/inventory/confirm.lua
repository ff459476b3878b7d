--[[
Sells the units of a reservation, all of them or some, and releases or keeps the rest.

KEYS
  reservation_key           record  reservation
  * product_key             record  product, where the reservation is known
  * holds_key               zset    holds
  * log_key                 log     movements
  * allowance_key           record  what the customer has of the product

ARGV
  reservation_id           id
  id_bytes                 the 16 bytes of the id
  remainder                release or keep
  * product_id             id, each product once; none for all of them
  * quantity               units

REPLY
  ok                       reservation:json
  reservation_not_found    reservation_id
  reservation_expired      reservation_id expired_at:instant
  reservation_closed       reservation_id reservation_status
  confirm_exceeds_reserved  reservation_id product_id held requested
  total_out_of_range       product_id figure total delta max_total
]]
--- @include "lib/reservation"
--- @include "lib/product_limits"
--- @include "lib/allowance"

local reservation = open_reservation(reservation_key)
if not reservation or line_count() == 0 then
  return { 'reservation_not_found', reservation_id }
end
local refusal = check_reservation_open(reservation_id, reservation)
if refusal then
  return refusal
end
local wanted, held = {}, {}
for i = 1, #reservation.lines do
  held[reservation.lines[i].product_id] = held_units(reservation.lines[i])
  wanted[reservation.lines[i].product_id] = arg_line_count() == 0 and held_units(reservation.lines[i]) or 0
end
for i = 1, arg_line_count() do
  local product_id, quantity = args_of_line(i)
  local has = held[product_id] or 0
  if tonumber(quantity) > has then
    return { 'confirm_exceeds_reserved', reservation_id, product_id, has, tonumber(quantity) }
  end
  wanted[product_id] = tonumber(quantity)
end
if not open_lines(reservation, id_bytes) then
  return { 'reservation_expired', reservation_id, reservation.expires_at }
end

for i = 1, #reservation.lines do
  local line = reservation.lines[i]
  local sold, delta = line.product.sold, wanted[line.product_id]
  if sold + delta > MAX_TOTAL then
    return { 'total_out_of_range', line.product_id, 'sold', sold, delta, MAX_TOTAL, replayable = false }
  end
end

local customer_id, still_held = reservation.customer_id, 0
for i = 1, #reservation.lines do
  local line, product = reservation.lines[i], reservation.lines[i].product
  local before, sold = held_units(line), wanted[line.product_id]
  local after = before - sold
  local released = remainder == 'release' and after or 0
  after = after - released
  if sold > 0 or released > 0 then
    change_product(line.product_key, product)
    if sold > 0 then
      product.on_hand, product.reserved, product.sold = product.on_hand - sold, product.reserved - sold, product.sold + sold
      append_movement(product, SOLD, sold, product.reserved, id_bytes, customer_id, now)
    end
    if released > 0 then
      product.reserved = product.reserved - released
      append_movement(product, RELEASED, released, product.reserved, id_bytes, customer_id, now)
    end
    move_hold(product, id_bytes, before, after, reservation.expires_at)
    if is_counted(product, line.allowance_key) then
      change_allowance(line.allowance_key, reservation_id, sold, after, reservation.expires_at)
    end
    line.confirmed, line.released = line.confirmed + sold, line.released + released
    line.low = low_stock_change(product)
  end
  line.remaining = product.on_hand - product.reserved
  still_held = still_held + after
end
if still_held == 0 then
  reservation.status = 'confirmed'
end
mark_dirty(reservation_key, encode_reservation)

return { 'ok', reservation_json(reservation) }
