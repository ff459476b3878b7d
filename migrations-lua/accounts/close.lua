--[[
Closes an account that is empty; with an account to sweep to, moves its balance there first.

KEYS
  account_key           record  account
  account_log           log     postings
  holds_key             zset    holds
  * sweep_key           record  account, where there is one to sweep to
  * sweep_log           log     postings
  * transactions_key    hash    transactions of a second

ARGV
  account_id             id
  expected_version       versions with a blank between them, or nothing to expect none
  transaction_id         generated
  transaction_field      generated, the 16 bytes of the id
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
  currency_scale_mismatch currency from_scale to_scale
  max_balance_exceeded   account_id balance max_balance amount currency
]]
--- @include "lib/posting"
--- @include "lib/account_json"
--- @include "lib/version"

local sweep_key, sweep_log, transactions_key = keys_of_line(1)
local sweep_to = args_of_line(1)

local account = open_account(account_key, holds_key)
if not account then
  return { 'account_not_found', 'account_id', account_id }
end
local refusal = check_version(account, expected_version)
if refusal then
  return refusal
end
local other = sweep_to and open_account(sweep_key)
if sweep_to and not other then
  return { 'account_not_found', 'sweep_to', sweep_to }
end
if other and other.currency ~= account.currency then
  return { 'currency_mismatch', account.currency, other.currency }
end
if account.status == 'closed' then
  return { 'account_closed', 'account_id', account_id }
end
local balance, overdrawn = net(account.credits, 0, account.debits, 0, 0)
if account.held ~= 0 or overdrawn or balance ~= 0 and not other then
  return { 'account_not_empty', account_id, balance_of(account), decimal(account.held, account.scale), account.currency }
end
if balance ~= 0 then
  local from = posting_side(account_key, account_log, account_id, 'account_id')
  local to = posting_side(sweep_key, sweep_log, sweep_to, 'sweep_to')
  local transaction = {
    hash = transactions_key, field = transaction_field, kind = SWEEP, request_field = 'sweep_to',
    description = '"account closed"', metadata = '{}',
  }
  refusal = post(from, to, balance, transaction)
  if refusal then
    return refusal
  end
end
-- Nothing can be spent any more, not on credit either.
account.status, account.overdraft_limit = 'closed', 0
mark_account_dirty(account_key, account)

return { 'ok', account_json(account_id, account), balance ~= 0 and transaction_id }
