--[[
Tell what a reservation holds, or how it ended.

READ ONLY

KEYS
  reservation_key        reservation

ARGV
  reservation_id         id

REPLY
  ok                     reservation:json
  reservation_not_found  reservation_id
]]
--- @include "lib/reservation"

local reservation_key = unpack(keys)
local reservation_id = unpack(args)

local it = reservation(reservation_key)
if not it then
  return { 'reservation_not_found', reservation_id }
end

return { 'ok', reservation_json(it) }
