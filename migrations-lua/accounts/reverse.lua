--[[
Moves the money of a transaction back, all of it or a part.

KEYS
  transactions_key              hash    transactions of the second of the transaction
  reversals_key                 hash    transactions of the second of the reversal
  external_key                  hash    accounts, one a currency
  * from_key                    record  account that pays back, where the transaction is known
  * from_log                    log     postings
  * from_holds                  zset    holds
  * to_key                      record  account that is paid back
  * to_log                      log     postings

ARGV
  transaction_id                id
  transaction_field             the 16 bytes of the id
  amount                        digits, or nothing for all that is left
  decimals                      how many of them are decimals
  description                   JSON, a string or null
  reversal_id                   generated
  reversal_field                generated, the 16 bytes of the id

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

local transaction = open_transaction(transactions_key, transaction_field)
if not transaction or not from_key then
  return { 'transaction_not_found', transaction_id }
end
-- A reversal is not reversed: what it gave back is moved again by a new transaction.
local left = transaction.kind == REVERSAL and 0 or minus(transaction.amount, transaction.reversed)
local minor, refusal = left
if amount ~= '' then
  minor, refusal = minor_units(amount, decimals, transaction)
  if refusal then
    return refusal
  end
end
if left == 0 or sign_of_net(left, 0, minor, 0, 0) < 0 then
  local requested = amount == '' and transaction.amount or minor
  return {
    'reversal_exceeds_transaction', transaction_id, kind_name(transaction.kind), decimal(left, transaction.scale),
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
  hash = reversals_key, field = reversal_field, kind = REVERSAL, reverses = transaction_id,
  request_field = amount == '' and 'transaction_id' or 'amount', description = description, metadata = '{}',
}
local from_balance, to_balance
refusal, from_balance, to_balance = post(payer, payee, minor, reversal)
if refusal then
  return refusal
end
transaction.reversed = plus(transaction.reversed, minor)
change_transaction(transactions_key, transaction_field)
reversal.amount, reversal.reversed, reversal.created_at = minor, 0, now
reversal.from_account, reversal.to_account = payer.id, payee.id
reversal.currency, reversal.scale = payer.currency, payer.scale

-- The external account answers no balance.
local function balance_json(balance)
  return balance and '"' .. signed_decimal(balance, transaction.scale) .. '"' or 'null'
end
return {
  'ok', transaction_json(reversal_id, reversal), transaction_json(transaction_id, transaction),
  balance_json(from_balance), balance_json(to_balance),
}
