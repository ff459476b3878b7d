--[[
Close an account that is empty, or move what it has to another one and close it.

KEYS
  account_key            account
  account_log            log of postings
  holds_key              sorted set of holds
  * sweep_key            account, where there is one to sweep to
  * sweep_log            log of postings
  * transaction_key      new transaction

ARGV
  account_id             id
  expected_version       versions with a blank between them, or nothing to expect none
  transaction_id         minted
  * sweep_to             id

REPLY
  ok                     account:json transaction_id
  account_not_found      role account_id
  version_mismatch       version expected
  currency_mismatch      from_currency to_currency
  account_closed         role account_id
  account_frozen         role account_id direction
  account_not_empty      account_id balance held currency
  amount_out_of_range    currency field
  max_balance_exceeded   account_id balance max_balance amount currency
]]
--- @include "lib/posting"
--- @include "lib/account_json"
--- @include "lib/version"

local account_key, account_log, holds_key = unpack(keys)
local account_id, expected_version, transaction_id = unpack(args)
local sweep_key, sweep_log, transaction_key = unpack(keys, 4)
local sweep_to = unpack(args, 4)

local it = account(account_key, holds_key)
if not it then
  return { 'account_not_found', 'account_id', account_id }
end
local refusal = another_version(it, expected_version)
if refusal then
  return refusal
end
local other = sweep_to and account(sweep_key)
if sweep_to and not other then
  return { 'account_not_found', 'sweep_to', sweep_to }
end
if other and other.currency ~= it.currency then
  return { 'currency_mismatch', it.currency, other.currency }
end
if it.status == 'closed' then
  return { 'account_closed', 'account_id', account_id }
end
local overdrawn = net(it.credits, '0', it.debits, '0', '0') < 0
local balance = overdrawn and '0' or minus(it.credits, it.debits)
if it.held ~= '0' or overdrawn or balance ~= '0' and not other then
  return { 'account_not_empty', account_id, balance_of(it), decimal(it.held, it.scale), it.currency }
end
if balance ~= '0' then
  local from = side(account_key, account_log, account_id, 'account_id')
  local to = side(sweep_key, sweep_log, sweep_to, 'sweep_to')
  local new = {
    key = transaction_key, id = transaction_id, kind = 'sweep', field = 'sweep_to',
    description = '"account closed"', metadata = '{}',
  }
  refusal = post(from, to, balance, new)
  if refusal then
    return refusal
  end
end
-- Nothing can be spent of it any more, on credit neither.
it.status, it.overdraft_limit = 'closed', '0'
change_account(account_key, it)

return { 'ok', account_json(account_id, it), balance ~= '0' and transaction_id }
