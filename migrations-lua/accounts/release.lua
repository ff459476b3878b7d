--[[
Give the money that a hold has set aside back to its account.

KEYS
  hold_key               hold
  * account_key          account, where the hold is known
  * holds_key            sorted set of its holds

ARGV
  hold_id                id

REPLY
  ok                     hold:json available
  hold_not_found         hold_id
  hold_expired           hold_id expired_at:instant
  hold_closed            hold_id hold_status
]]
--- @include "lib/hold"

local hold_key = unpack(keys)
local hold_id = unpack(args)
local account_key, holds_key = unpack(keys, 2)

local it = hold(hold_key)
if not it or not account_key then
  return { 'hold_not_found', hold_id }
end
local refusal = hold_ended(hold_id, it)
if refusal then
  return refusal
end
local payer, left = payer_of(it, hold_id, account_key, holds_key), left_of(it)

payer.held = minus(payer.held, left)
it.status, it.released = 'released', plus(it.released, left)
no_longer_aside(holds_key, hold_id, left)
change_account(account_key, payer)
change(hold_key, encode_hold)

return { 'ok', hold_json(hold_id, it), available_in(payer) }
