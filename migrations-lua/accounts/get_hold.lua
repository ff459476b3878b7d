--[[
Tell what a hold has set aside, or how it ended.

READ ONLY

KEYS
  hold_key               hold

ARGV
  hold_id                id

REPLY
  ok                     hold:json
  hold_not_found         hold_id
]]
--- @include "lib/hold"

local hold_key = unpack(keys)
local hold_id = unpack(args)

local it = hold(hold_key)
if not it then
  return { 'hold_not_found', hold_id }
end

return { 'ok', hold_json(hold_id, it) }
