--[[
Bring money into an account from outside.

KEYS
  account_key            account
  account_log            log of postings
  holds_key              sorted set of holds
  external_key           hash of accounts, one a currency
  transaction_key        new transaction

ARGV
  account_id             id
  amount                 digits
  decimals               how many of them are decimals
  description            JSON, a string or null
  transaction_id         minted

REPLY
  ok                     transaction_id account_id amount currency balance available status description:json created_at
  account_not_found      role account_id
  account_closed         role account_id
  account_frozen         role account_id direction
  amount_scale_exceeded  currency scale field
  amount_out_of_range    currency field
  max_balance_exceeded   account_id balance max_balance amount currency
]]
--- @include "lib/posting"
--- @include "lib/external"

local account_key, account_log, holds_key, external_key, transaction_key = unpack(keys)
local account_id, amount, decimals, description, transaction_id = unpack(args)

local it = account(account_key, holds_key)
if not it then
  return { 'account_not_found', 'account_id', account_id }
end
local own = side(account_key, account_log, account_id, 'account_id')
local minor, refusal = minor_units(amount, decimals, it)
if refusal then
  return refusal
end
local new = { key = transaction_key, id = transaction_id, kind = 'deposit', description = description, metadata = '{}' }
local moved, _, balance
refusal, moved, _, balance = post(external_side(external_key, it), own, minor, new)
if refusal then
  return refusal
end

return {
  'ok', transaction_id, account_id, moved, it.currency,
  balance, available_in(it), 'completed', description, now,
}
