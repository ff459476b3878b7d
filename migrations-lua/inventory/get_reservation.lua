--[[
Returns a reservation, held or ended.

READ ONLY

KEYS
  reservation_key        record  reservation

ARGV
  reservation_id         id

REPLY
  ok                     reservation:json
  reservation_not_found  reservation_id
]]
--- @include "lib/reservation"

local reservation = open_reservation(reservation_key)
if not reservation then
  return { 'reservation_not_found', reservation_id }
end

return { 'ok', reservation_json(reservation) }
