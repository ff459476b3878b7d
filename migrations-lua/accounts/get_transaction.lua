--[[
Returns a transaction, and how much of it was reversed.

READ ONLY

KEYS
  transaction_key        record  transaction

ARGV
  transaction_id         id

REPLY
  ok                     transaction:json
  transaction_not_found  transaction_id
]]
--- @include "lib/transaction"

local transaction = open_transaction(transaction_key)
if not transaction then
  return { 'transaction_not_found', transaction_id }
end

return { 'ok', transaction_json(transaction_id, transaction) }
