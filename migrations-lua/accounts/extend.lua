--[[
Keep the money of a hold aside for longer.

KEYS
  hold_key               hold
  * account_key          account, where the hold is known
  * holds_key            sorted set of its holds

ARGV
  hold_id                id
  ttl_ms                 how long from now; what is left already is never cut

REPLY
  ok                     hold:json available
  hold_not_found         hold_id
  hold_expired           hold_id expired_at:instant
  hold_closed            hold_id hold_status
]]
--- @include "lib/hold"

local hold_key = unpack(keys)
local hold_id, ttl_ms = unpack(args)
local account_key, holds_key = unpack(keys, 2)

local it = hold(hold_key)
if not it or not account_key then
  return { 'hold_not_found', hold_id }
end
local refusal = hold_ended(hold_id, it)
if refusal then
  return refusal
end
local payer = payer_of(it, hold_id, account_key, holds_key)

if now + ttl_ms > it.expires_at then
  it.expires_at = now + ttl_ms
  set_money_aside(payer, account_key, holds_key, hold_id, left_of(it), it.expires_at)
  change(hold_key, encode_hold)
end

return { 'ok', hold_json(hold_id, it), available_in(payer) }
