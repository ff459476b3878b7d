--[[
Move money that a hold has set aside to the account it was held for.

KEYS
  hold_key               hold
  transaction_key        new transaction
  * from_key             account, where the hold is known
  * to_key               account
  * from_log             log of postings
  * to_log               log of postings
  * holds_key            sorted set of the payer's holds

ARGV
  hold_id                id
  amount                 digits, or nothing for all that is left
  decimals               how many of them are decimals
  final                  whether what is left after it is released: true or false
  transaction_id         minted

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

local hold_key, transaction_key = unpack(keys)
local hold_id, amount, decimals, final, transaction_id = unpack(args)
local from_key, to_key, from_log, to_log, holds_key = unpack(keys, 3)

local it = hold(hold_key)
if not it or not from_key then
  return { 'hold_not_found', hold_id }
end
local refusal = hold_ended(hold_id, it)
if refusal then
  return refusal
end
local left, minor = left_of(it), nil
if amount == '' then
  minor = left
else
  minor, refusal = minor_units(amount, decimals, it)
  if refusal then
    return refusal
  end
end
local rest = net(left, '0', minor, '0', '0')
if rest < 0 then
  return { 'capture_exceeds_hold', hold_id, decimal(left, it.scale), decimal(minor, it.scale), it.currency }
end
rest = minus(left, minor)

local from = payer_of(it, hold_id, from_key, holds_key)
local _ = account(to_key) or broken(to_key, 'the account of ' .. hold_id)
local payer = side(from_key, from_log, it.from_account, 'from_account')
local payee = side(to_key, to_log, it.to_account, 'to_account')
local description, metadata = it.rest:match('"description":(.*),"metadata":({.*})$')
local new = {
  key = transaction_key, id = transaction_id, kind = 'capture', hold_id = hold_id,
  field = amount == '' and 'hold_id' or 'amount', description = description, metadata = metadata,
}
-- What is captured is held until it moves, so it is there to be moved.
local held, ends = from.held, final == 'true' or rest == '0'
from.held = minus(held, ends and left or minor)
local moved, from_balance, to_balance
refusal, moved, from_balance, to_balance = post(payer, payee, minor, new)
if refusal then
  from.held = held
  return refusal
end

it.captured = plus(it.captured, minor)
no_longer_aside(holds_key, hold_id, left)
if ends then
  it.status, it.released = 'captured', plus(it.released, rest)
else
  queued[#queued + 1] = { 'ZADD', holds_key, it.expires_at, rest .. ':' .. hold_id }
end
change(hold_key, encode_hold)

return {
  'ok', transaction_id, it.from_account, it.to_account, moved, it.currency,
  from_balance, to_balance, 'completed', hold_json(hold_id, it), now,
}
