--[[
Open an account, with an initial balance posted from outside.

KEYS
  account_key            account
  account_log            log of postings
  external_key           hash of accounts, one a currency
  index_key              sorted set of the space's account ids
  transaction_key        new transaction

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
  ok                     account:json
  account_exists         account_id
  max_balance_exceeded   account_id balance max_balance amount currency
  amount_out_of_range    currency field
]]
--- @include "lib/posting"
--- @include "lib/external"
--- @include "lib/account_json"

local account_key, account_log, external_key, index_key, transaction_key = unpack(keys)
local account_id, currency, scale, initial_balance, overdraft_limit, max_balance, metadata, transaction_id = unpack(args)

if account(account_key) then
  return { 'account_exists', account_id }
end
-- A look at the index tells now, before anything is written, that it is one.
redis.call('ZSCORE', index_key, account_id)
local it = new_account(account_key, currency, scale, overdraft_limit, max_balance, metadata)
if initial_balance ~= '0' then
  local new = {
    key = transaction_key, id = transaction_id, kind = 'deposit', field = 'initial_balance',
    description = '"initial balance"', metadata = '{}',
  }
  local own = side(account_key, account_log, account_id, 'account_id')
  local refusal = post(external_side(external_key, it), own, initial_balance, new)
  if refusal then
    live[account_key] = nil
    return refusal
  end
end
change(account_key, encode_account)
queued[#queued + 1] = { 'ZADD', index_key, 0, account_id }

return { 'ok', account_json(account_id, it) }
