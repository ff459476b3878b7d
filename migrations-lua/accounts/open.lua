--[[
Open an account, with an initial balance posted from outside.

KEYS
  account_key            account
  account_log            log of postings
  external_key           hash of accounts, one a currency

ARGV
  account_id             id
  currency               code
  scale                  decimals of the currency
  initial_balance        minor units
  overdraft_limit        minor units
  max_balance            minor units, or nothing for none
  metadata               JSON, an object of strings
  transaction_id         minted

REPLY
  ok                     account_id currency balance available held overdraft_limit max_balance metadata:json version created_at
  account_exists         account_id
  max_balance_exceeded   account_id balance max_balance amount currency
  amount_out_of_range    currency
]]
--- @include "lib/posting"
--- @include "lib/account_fields"

local account_key, account_log, external_key = unpack(keys)
local account_id, currency, scale, initial_balance, overdraft_limit, max_balance, metadata, transaction_id = unpack(args)

if account(account_key) then
  return { 'account_exists', account_id }
end
local it = new_account(account_key, currency, scale, overdraft_limit, max_balance, metadata)
if initial_balance ~= '0' then
  local refusal = post(
    external_side(external_key, it), side(account_key, account_log, account_id),
    initial_balance, transaction_id, '"initial balance"', '{}'
  )
  if refusal then
    live[account_key] = nil
    return refusal
  end
end
change(account_key, encode_account)

return { 'ok', account_fields(account_id, it) }
