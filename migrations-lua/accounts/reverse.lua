--[[
Move the money of a transaction back, whole or in part.

KEYS
  transaction_key               transaction
  reversal_key                  new transaction
  external_key                  hash of accounts, one a currency
  * from_key                    account that pays back, where the transaction is known
  * from_log                    log of postings
  * from_holds                  sorted set of holds
  * to_key                      account that is paid back
  * to_log                      log of postings

ARGV
  transaction_id                id
  amount                        digits, or nothing for all that is left
  decimals                      how many of them are decimals
  description                   JSON, a string or null
  reversal_id                   minted

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
--- @include "lib/transaction_json"

local transaction_key, reversal_key, external_key = unpack(keys)
local transaction_id, amount, decimals, description, reversal_id = unpack(args)
local from_key, from_log, from_holds, to_key, to_log = unpack(keys, 4)

local it = transaction(transaction_key)
if not it or not from_key then
  return { 'transaction_not_found', transaction_id }
end
-- A reversal is not reversed: what it gave back is given again by a new transaction.
local left = it.kind == 'reversal' and '0' or minus(it.amount, it.reversed)
local minor, refusal = left, nil
if amount ~= '' then
  minor, refusal = minor_units(amount, decimals, it)
  if refusal then
    return refusal
  end
end
if left == '0' or net(left, '0', minor, '0', '0') < 0 then
  local requested = amount == '' and it.amount or minor
  return {
    'reversal_exceeds_transaction', transaction_id, it.kind, decimal(left, it.scale), decimal(requested, it.scale), it.currency,
  }
end

-- One of the two may be the world outside.
local function party(id, key, log, holds_key, role)
  if id == 'external' then
    return external_side(external_key, it)
  end
  local _ = account(key, holds_key) or broken(key, 'the account of ' .. transaction_id)
  return side(key, log, id, role)
end
local payer = party(it.to_account, from_key, from_log, from_holds, 'from_account')
local payee = party(it.from_account, to_key, to_log, nil, 'to_account')
local new = {
  key = reversal_key, id = reversal_id, kind = 'reversal', reverses = transaction_id,
  field = amount == '' and 'transaction_id' or 'amount', description = description, metadata = '{}',
}
local _, from_balance, to_balance
refusal, _, from_balance, to_balance = post(payer, payee, minor, new)
if refusal then
  return refusal
end
it.reversed = plus(it.reversed, minor)
change(transaction_key, encode_transaction)

-- The world outside keeps no balance that anybody asks for.
local function told(balance)
  return balance and '"' .. balance .. '"' or 'null'
end
return {
  'ok', transaction_json(reversal_id, decode_transaction(reversal_key, new.text)), transaction_json(transaction_id, it), told(from_balance), told(to_balance),
}
