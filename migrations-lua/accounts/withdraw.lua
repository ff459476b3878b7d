--[[
Moves money from an account to the external account.

KEYS
  account_key            record  account
  account_log            log     postings
  holds_key              zset    holds
  external_key           hash    accounts, one a currency
  transactions_key       hash    transactions of a second

ARGV
  account_id             id
  amount                 digits
  decimals               how many of them are decimals
  description            JSON, a string or null
  transaction_id         generated
  transaction_field      generated, the 16 bytes of the id

REPLY
  ok                     transaction_id account_id amount currency balance available status description:json created_at
  account_not_found      role account_id
  account_closed         role account_id
  account_frozen         role account_id direction
  amount_scale_exceeded  currency scale field
  amount_out_of_range    currency field
  currency_scale_mismatch currency from_scale to_scale
  insufficient_funds     account_id available required currency
]]
--- @include "lib/posting"
--- @include "lib/external"

local account = open_account(account_key, holds_key)
if not account then
  return { 'account_not_found', 'account_id', account_id }
end
local own = posting_side(account_key, account_log, account_id, 'account_id')
local minor, refusal = minor_units(amount, decimals, account)
if refusal then
  return refusal
end
local transaction = { hash = transactions_key, field = transaction_field, kind = WITHDRAWAL, description = description, metadata = '{}' }
local balance
refusal, balance = post(own, external_side(external_key, account), minor, transaction)
if refusal then
  return refusal
end

return {
  'ok', transaction_id, account_id, decimal(minor, account.scale), account.currency,
  signed_decimal(balance, account.scale), available_in(account), 'completed', description, now,
}
