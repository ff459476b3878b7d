--[[
Returns the reservations whose ids the previous page named, newest first, and the ids of the next page.

READ ONLY

KEYS
  customer_key       zset    the customer's reservations
  * reservation_key  record  reservation

ARGV
  before                 id to go on before, or nothing to begin with the newest
  count                  how many ids to name

REPLY
  ok                     reservations:json next
]]
--- @include "lib/reservation"
--- @include "lib/damage"
--- @include "lib/index_page"

local reservations = {}
for i = 1, line_count() do
  local reservation_key = keys_of_line(i)
  -- The set may still name a reservation whose record has ended, or is damaged.
  local reservation = unless_damaged(open_reservation, reservation_key)
  reservations[#reservations + 1] = reservation and reservation_json(reservation)
end
return { 'ok', reservations, ids_before(customer_key, before, count) }
