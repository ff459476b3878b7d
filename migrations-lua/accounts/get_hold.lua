--[[
Returns a hold, open or ended.

READ ONLY

KEYS
  hold_key        record  hold

ARGV
  hold_id                id

REPLY
  ok                     hold:json
  hold_not_found         hold_id
]]
--- @include "lib/hold"

local hold = open_hold(hold_key)
if not hold then
  return { 'hold_not_found', hold_id }
end

return { 'ok', hold_json(hold_id, hold) }
