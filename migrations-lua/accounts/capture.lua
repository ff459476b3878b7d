--[[
Moves held money to the account that it was held for.

KEYS
  hold_key               record  hold
  transactions_key       hash    transactions of a second
  * from_key             record  account, where the hold is known
  * to_key               record  account
  * from_log             log     postings
  * to_log               log     postings
  * holds_key            zset    the payer's holds

ARGV
  hold_id                id
  amount                 digits, or nothing for all that is left
  decimals               how many of them are decimals
  final                  whether the rest is released: true or false
  transaction_id         generated
  transaction_field      generated, the 16 bytes of the id

REPLY
  ok                     transaction_id from_account to_account amount currency from_balance to_balance status hold:json created_at
  hold_not_found         hold_id
  hold_expired           hold_id expired_at:instant
  hold_closed            hold_id hold_status
  capture_exceeds_hold   hold_id remaining requested currency
  account_closed         role account_id
  account_frozen         role account_id direction
  amount_scale_exceeded  currency scale field
  amount_out_of_range    currency field
  max_balance_exceeded   account_id balance max_balance amount currency
]]
--- @include "lib/posting"
--- @include "lib/hold"

local from_key, to_key, from_log, to_log, holds_key = keys_of_line(1)

local hold = open_hold(hold_key)
if not hold or not from_key then
  return { 'hold_not_found', hold_id }
end
local refusal = check_hold_open(hold_id, hold)
if refusal then
  return refusal
end
local remaining = remaining_of(hold)
local minor
if amount == '' then
  minor = remaining
else
  minor, refusal = minor_units(amount, decimals, hold)
  if refusal then
    return refusal
  end
end
if sign_of_net(remaining, 0, minor, 0, 0) < 0 then
  return { 'capture_exceeds_hold', hold_id, decimal(remaining, hold.scale), decimal(minor, hold.scale), hold.currency }
end
local rest = minus(remaining, minor)

local from = open_payer(hold, hold_id, from_key, holds_key)
if not from then
  return { 'hold_expired', hold_id, hold.expires_at }
end
local _ = open_account(to_key) or fail_corrupt(to_key, 'the account of ' .. hold_id)
local payer = posting_side(from_key, from_log, hold.from_account, 'from_account')
local payee = posting_side(to_key, to_log, hold.to_account, 'to_account')
local transaction = {
  hash = transactions_key, field = transaction_field, kind = CAPTURE, hold_id = hold_id,
  request_field = amount == '' and 'hold_id' or 'amount', description = hold.description, metadata = hold.metadata,
}
-- The money is held until it moves, so it is there.
local held, ends = from.held, final == 'true' or rest == 0
from.held = minus(held, ends and remaining or minor)
local from_balance, to_balance
refusal, from_balance, to_balance = post(payer, payee, minor, transaction)
if refusal then
  from.held = held
  return refusal
end

hold.captured = plus(hold.captured, minor)
remove_from_holds(holds_key, hold_id, remaining, hold.expires_at)
if ends then
  hold.status, hold.released = 'captured', plus(hold.released, rest)
else
  add_member(holds_key, hold.expires_at, digits_of(rest) .. ':' .. hold_id)
end
mark_dirty(hold_key, encode_hold)

return {
  'ok', transaction_id, hold.from_account, hold.to_account, decimal(minor, hold.scale), hold.currency,
  signed_decimal(from_balance, hold.scale), signed_decimal(to_balance, hold.scale), 'completed', hold_json(hold_id, hold), now,
}
