--[[
Tell what a reservation holds, or how it ended.

READ ONLY

KEYS
  reservation_key        reservation

ARGV
  reservation_id         id

REPLY
  ok                     reservation_id customer_id status lines:json created_at expires_at
  reservation_not_found  reservation_id
]]
--- @include "lib/reservation"

local reservation_key = unpack(keys)
local reservation_id = unpack(args)

local it = reservation(reservation_key)
if not it then
  return { 'reservation_not_found', reservation_id }
end

return { 'ok', it.reservation_id, it.customer_id, it.status, it.lines, it.created_at, it.expires_at }
