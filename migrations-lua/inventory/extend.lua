--[[
Extends the time of a reservation.

KEYS
  reservation_key        record  reservation
  * product_key          record  product, where the reservation is known
  * holds_key            zset    holds
  * log_key              log     movements
  * allowance_key        record  what the customer has of the product

ARGV
  reservation_id         id
  id_bytes               the 16 bytes of the id
  ttl_ms                 how long from now; an end that is later already stays

REPLY
  ok                     reservation:json
  reservation_not_found  reservation_id
  reservation_expired    reservation_id expired_at:instant
  reservation_closed     reservation_id reservation_status
  extension_limit        reservation_id extensions max_extensions max_total_ms
]]
--- @include "lib/reservation"
--- @include "lib/allowance"

local MAX_EXTENSIONS = 10
local MAX_TOTAL_MS = 24 * 3600 * 1000

local reservation = open_reservation(reservation_key)
if not reservation or line_count() == 0 then
  return { 'reservation_not_found', reservation_id }
end
local refusal = check_reservation_open(reservation_id, reservation)
if refusal then
  return refusal
end
local expires_at = math.max(reservation.expires_at, now + ttl_ms)
if reservation.extensions >= MAX_EXTENSIONS or expires_at - reservation.created_at > MAX_TOTAL_MS then
  return { 'extension_limit', reservation_id, reservation.extensions, MAX_EXTENSIONS, MAX_TOTAL_MS }
end
if not open_lines(reservation, id_bytes) then
  return { 'reservation_expired', reservation_id, reservation.expires_at }
end

local old_expires_at = reservation.expires_at
reservation.extensions, reservation.expires_at = reservation.extensions + 1, expires_at
for i = 1, #reservation.lines do
  local line, product = reservation.lines[i], reservation.lines[i].product
  local held = held_units(line)
  if held > 0 then
    move_hold(product, id_bytes, held, held, expires_at, old_expires_at)
    write_product(line.product_key, product)
    if is_counted(product, line.allowance_key) then
      change_allowance(line.allowance_key, reservation_id, 0, held, expires_at)
    end
  end
end
mark_dirty(reservation_key, encode_reservation)

return { 'ok', reservation_json(reservation) }
