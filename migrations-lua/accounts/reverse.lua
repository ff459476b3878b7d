--[[
Moves the money of a transaction back, all of it or a part.

KEYS
  transaction_key               record  transaction
  reversal_key                  new     transaction
  external_key                  hash    accounts, one a currency
  * from_key                    record  account that pays back, where the transaction is known
  * from_log                    log     postings
  * from_holds                  zset    holds
  * to_key                      record  account that is paid back
  * to_log                      log     postings

ARGV
  transaction_id                id
  amount                        digits, or nothing for all that is left
  decimals                      how many of them are decimals
  description                   JSON, a string or null
  reversal_id                   generated

REPLY
  ok                            transaction:json original:json from_balance:json to_balance:json
  transaction_not_found         transaction_id
  reversal_exceeds_transaction  transaction_id kind remaining requested currency
  account_closed                role account_id
  account_frozen                role account_id direction
  amount_scale_exceeded         currency scale field
  amount_out_of_range           currency field
  insufficient_funds            account_id available required currency
  max_balance_exceeded          account_id balance max_balance amount currency
]]
--- @include "lib/posting"
--- @include "lib/external"
--- @include "lib/transaction"

local from_key, from_log, from_holds, to_key, to_log = keys_of_line(1)

local transaction = open_transaction(transaction_key)
if not transaction or not from_key then
  return { 'transaction_not_found', transaction_id }
end
-- A reversal is not reversed: what it gave back is moved again by a new transaction.
local left = transaction.kind == 'reversal' and '0' or minus(transaction.amount, transaction.reversed)
local minor, refusal = left
if amount ~= '' then
  minor, refusal = minor_units(amount, decimals, transaction)
  if refusal then
    return refusal
  end
end
if left == '0' or net(left, '0', minor, '0', '0') < 0 then
  local requested = amount == '' and transaction.amount or minor
  return {
    'reversal_exceeds_transaction', transaction_id, transaction.kind, decimal(left, transaction.scale),
    decimal(requested, transaction.scale), transaction.currency,
  }
end

-- Returns one side of the reversal, which may be the external account.
local function reversal_side(id, key, log, holds_key, role)
  if id == 'external' then
    return external_side(external_key, transaction)
  end
  local _ = open_account(key, holds_key) or fail_corrupt(key, 'the account of ' .. transaction_id)
  return posting_side(key, log, id, role)
end
local payer = reversal_side(transaction.to_account, from_key, from_log, from_holds, 'from_account')
local payee = reversal_side(transaction.from_account, to_key, to_log, nil, 'to_account')
local reversal = {
  key = reversal_key, id = reversal_id, kind = 'reversal', reverses = transaction_id,
  field = amount == '' and 'transaction_id' or 'amount', description = description, metadata = '{}',
}
local _, from_balance, to_balance
refusal, _, from_balance, to_balance = post(payer, payee, minor, reversal)
if refusal then
  return refusal
end
transaction.reversed = plus(transaction.reversed, minor)
mark_dirty(transaction_key, encode_transaction)

-- The external account answers no balance.
local function balance_json(balance)
  return balance and '"' .. balance .. '"' or 'null'
end
return {
  'ok', transaction_json(reversal_id, decode_transaction(reversal_key, reversal.text)),
  transaction_json(transaction_id, transaction), balance_json(from_balance), balance_json(to_balance),
}
