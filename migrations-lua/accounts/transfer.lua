--[[
Moves money from one account to another.

KEYS
  from_key               record  account
  to_key                 record  account
  from_log               log     postings
  to_log                 log     postings
  holds_key              zset    the payer's holds
  transactions_key       hash    transactions of a second

ARGV
  from_account           id
  to_account             id
  amount                 digits
  decimals               how many of them are decimals
  description            JSON, a string or null
  metadata               JSON, an object of strings
  transaction_id         generated
  transaction_field      generated, the 16 bytes of the id

REPLY
  ok                     transaction_id amount currency scale from_balance to_balance created_at:instant
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
local payer = posting_side(from_key, from_log, from_account, 'from_account')
local payee = posting_side(to_key, to_log, to_account, 'to_account')
local minor, refusal = minor_units(amount, decimals, from)
if refusal then
  return refusal
end
local transaction = {
  hash = transactions_key, field = transaction_field, kind = TRANSFER, description = description, metadata = metadata,
}
local from_balance, to_balance
refusal, from_balance, to_balance = post(payer, payee, minor, transaction)
if refusal then
  return refusal
end

return { 'ok', transaction_id, minor, from.currency, from.scale, from_balance, to_balance, now }
