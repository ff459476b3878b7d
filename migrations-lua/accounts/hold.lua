--[[
Holds money of an account, to be captured for another account.

KEYS
  from_key               record  account
  to_key                 record  account
  holds_key              zset    the payer's holds
  hold_key               new     hold

ARGV
  from_account           id
  to_account             id
  amount                 digits
  decimals               how many of them are decimals
  ttl_ms                 how long the money is held
  description            JSON, a string or null
  metadata               JSON, an object of strings
  hold_id                generated

REPLY
  ok                     hold:json available
  account_not_found      role account_id
  currency_mismatch      from_currency to_currency
  account_closed         role account_id
  account_frozen         role account_id direction
  amount_scale_exceeded  currency scale field
  amount_out_of_range    currency field
  currency_scale_mismatch currency from_scale to_scale
  insufficient_funds     account_id available required currency
  max_balance_exceeded   account_id balance max_balance amount currency
]]
--- @include "lib/posting"
--- @include "lib/hold"

local from, to = open_account(from_key, holds_key), open_account(to_key)
if not from then
  return { 'account_not_found', 'from_account', from_account }
end
if not to then
  return { 'account_not_found', 'to_account', to_account }
end
if from.currency ~= to.currency then
  return { 'currency_mismatch', from.currency, to.currency }
end
local payer, payee = posting_side(from_key, true, from_account, 'from_account'), posting_side(to_key, true, to_account, 'to_account')
local minor, refusal = minor_units(amount, decimals, from)
refusal = refusal or check_posting(payer, payee, minor)
if refusal then
  return refusal
end
local held = plus(from.held, minor)
if #digits_of(held) > MAX_DIGITS then
  return { 'amount_out_of_range', from.currency, 'amount', replayable = false }
end

from.held = held
local hold = {
  status = 'open',
  amount = minor,
  captured = 0,
  released = 0,
  from_account = from_account,
  to_account = to_account,
  currency = from.currency,
  scale = from.scale,
  expires_at = now + ttl_ms,
  created_at = now,
  description = description,
  metadata = metadata,
}
open_records[hold_key] = hold
mark_dirty(hold_key, encode_hold)
add_to_holds(from, from_key, holds_key, hold_id, minor, hold.expires_at)

return { 'ok', hold_json(hold_id, hold), available_in(from) }
