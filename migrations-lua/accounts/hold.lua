--[[
Set money of an account aside, to be captured for another one.

KEYS
  from_key               account
  to_key                 account
  holds_key              sorted set of the payer's holds
  hold_key               new hold

ARGV
  from_account           id
  to_account             id
  amount                 digits
  decimals               how many of them are decimals
  ttl_ms                 how long the money is set aside
  description            JSON, a string or null
  metadata               JSON, an object of strings
  hold_id                minted

REPLY
  ok                     hold:json available
  account_not_found      role account_id
  currency_mismatch      from_currency to_currency
  account_closed         role account_id
  account_frozen         role account_id direction
  amount_scale_exceeded  currency scale field
  amount_out_of_range    currency field
  insufficient_funds     account_id available required currency
  max_balance_exceeded   account_id balance max_balance amount currency
]]
--- @include "lib/posting"
--- @include "lib/hold"

local from_key, to_key, holds_key, hold_key = unpack(keys)
local from_account, to_account, amount, decimals, ttl_ms, description, metadata, hold_id = unpack(args)

local from, to = account(from_key, holds_key), account(to_key)
if not from then
  return { 'account_not_found', 'from_account', from_account }
end
if not to then
  return { 'account_not_found', 'to_account', to_account }
end
if from.currency ~= to.currency then
  return { 'currency_mismatch', from.currency, to.currency }
end
local payer, payee = side(from_key, true, from_account, 'from_account'), side(to_key, true, to_account, 'to_account')
local minor, refusal = minor_units(amount, decimals, from)
refusal = refusal or refuse(payer, payee, minor)
if refusal then
  return refusal
end
local held = plus(from.held, minor)
if #held > MAX_DIGITS then
  return { 'amount_out_of_range', from.currency, 'amount', forget = true }
end
-- A look at the set tells now, before anything is written, that it is one.
redis.call('ZCARD', holds_key)

from.held = held
local it = {
  status = 'open',
  amount = minor,
  captured = '0',
  released = '0',
  from_account = from_account,
  to_account = to_account,
  currency = from.currency,
  scale = from.scale,
  expires_at = now + ttl_ms,
  rest = '"created_at":' .. now .. ',"description":' .. description .. ',"metadata":' .. metadata,
}
live[hold_key] = it
change(hold_key, encode_hold)
set_money_aside(from, from_key, holds_key, hold_id, minor, it.expires_at)

return { 'ok', hold_json(hold_id, it), available_in(from) }
