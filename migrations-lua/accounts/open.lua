--[[
Opens an account, with an initial balance that comes from the external account.

KEYS
  account_key           record  account
  account_log           log     postings
  external_key          hash    accounts, one a currency
  index_key             zset    the space's account ids
  transactions_key      hash    transactions of a second

ARGV
  account_id             id
  currency               code
  scale                  decimals of the currency
  initial_balance        minor units
  overdraft_limit        minor units
  max_balance            minor units, or nothing for none
  metadata               JSON, an object of strings
  transaction_id         generated
  transaction_field      generated, the 16 bytes of the id

REPLY
  ok                     account:json
  account_exists         account_id
  max_balance_exceeded   account_id balance max_balance amount currency
  amount_out_of_range    currency field
  currency_scale_mismatch currency from_scale to_scale
]]
--- @include "lib/posting"
--- @include "lib/external"
--- @include "lib/account_json"

scale, initial_balance, overdraft_limit = tonumber(scale), amount_of(initial_balance), amount_of(overdraft_limit)
max_balance = max_balance ~= '' and amount_of(max_balance) or nil
if open_account(account_key) then
  return { 'account_exists', account_id }
end
local account = new_account(account_key, currency, scale, overdraft_limit, max_balance, metadata)
if initial_balance ~= 0 then
  local transaction = {
    hash = transactions_key, field = transaction_field, kind = DEPOSIT, request_field = 'initial_balance',
    description = '"initial balance"', metadata = '{}',
  }
  local own = posting_side(account_key, account_log, account_id, 'account_id')
  local refusal = post(external_side(external_key, account), own, initial_balance, transaction)
  if refusal then
    open_records[account_key] = nil
    return refusal
  end
end
mark_dirty(account_key, encode_account)
add_member(index_key, 0, account_id)

return { 'ok', account_json(account_id, account) }
