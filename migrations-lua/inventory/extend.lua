--[[
Keep the units of a reservation aside for longer.

KEYS
  reservation_key        reservation
  * product_key          product, where the reservation is known
  * holds_key            sorted set of holds
  * log_key              log of movements
  * allowance_key        what the customer has of the product

ARGV
  reservation_id         id
  ttl_ms                 how long from now; what is left already is never cut

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

local reservation_key = unpack(keys)
local reservation_id, ttl_ms = unpack(args)

local it = reservation(reservation_key)
if not it or #keys == 1 then
  return { 'reservation_not_found', reservation_id }
end
local refusal = reservation_ended(reservation_id, it)
if refusal then
  return refusal
end
local expires_at = math.max(it.expires_at, now + ttl_ms)
if it.extensions >= MAX_EXTENSIONS or expires_at - it.created_at > MAX_TOTAL_MS then
  return { 'extension_limit', reservation_id, it.extensions, MAX_EXTENSIONS, MAX_TOTAL_MS }
end
for i = 1, #it.lines do
  local product_key, holds_key, log_key, allowance_key = unpack(keys, 4 * i - 2)
  open_line(it, it.lines[i], product_key, holds_key, log_key, allowance_key)
end

it.extensions, it.expires_at = it.extensions + 1, expires_at
for i = 1, #it.lines do
  local line, stock = it.lines[i], it.lines[i].stock
  local held = held_of(line)
  if held > 0 then
    -- The units stay where they are; only their end is another one.
    set_units_aside(stock, reservation_id, 0, held, expires_at)
    write_product(line.product_key, stock)
    if is_counted(stock, line.allowance_key) then
      note_allowance(line.allowance_key, reservation_id, 0, held, expires_at)
    end
  end
end
change(reservation_key, encode_reservation)

return { 'ok', reservation_json(it) }
