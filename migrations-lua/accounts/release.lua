--[[
Gives held money back to its account.

KEYS
  hold_key        record  hold
  * account_key   record  account, where the hold is known
  * holds_key     zset    its holds

ARGV
  hold_id                id

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
local payer, remaining = open_payer(hold, hold_id, account_key, holds_key), remaining_of(hold)
if not payer then
  return { 'hold_expired', hold_id, hold.expires_at }
end

payer.held = minus(payer.held, remaining)
hold.status, hold.released = 'released', plus(hold.released, remaining)
remove_from_holds(holds_key, hold_id, remaining, hold.expires_at)
mark_account_dirty(account_key, payer)
mark_dirty(hold_key, encode_hold)

return { 'ok', hold_json(hold_id, hold), available_in(payer) }
