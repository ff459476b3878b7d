--[[
Extends the time of a hold.

KEYS
  hold_key        record  hold
  * account_key   record  account, where the hold is known
  * holds_key     zset    its holds

ARGV
  hold_id                id
  ttl_ms                 how long from now; an end that is later already stays

REPLY
  ok                     hold:json available
  hold_not_found         hold_id
  hold_expired           hold_id expired_at:instant
  hold_closed            hold_id hold_status
]]
--- @include "lib/hold"

local account_key, holds_key = keys_of_line(1)

local hold = open_hold(hold_key)
if not hold or not account_key then
  return { 'hold_not_found', hold_id }
end
local refusal = check_hold_open(hold_id, hold)
if refusal then
  return refusal
end
local payer = open_payer(hold, hold_id, account_key, holds_key)
if not payer then
  return { 'hold_expired', hold_id, hold.expires_at }
end

if now + ttl_ms > hold.expires_at then
  local old_expires_at = hold.expires_at
  hold.expires_at = now + ttl_ms
  add_to_holds(payer, account_key, holds_key, hold_id, remaining_of(hold), hold.expires_at, old_expires_at)
  mark_dirty(hold_key, encode_hold)
end

return { 'ok', hold_json(hold_id, hold), available_in(payer) }
