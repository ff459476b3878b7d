--[[
Returns a transaction, and how much of it was reversed.

READ ONLY

KEYS
  transactions_key       hash    transactions of a second

ARGV
  transaction_id         id
  transaction_field      the 16 bytes of the id

REPLY
  ok                     transaction:json
  transaction_not_found  transaction_id
]]
--- @include "lib/transaction"

local transaction = open_transaction(transactions_key, transaction_field)
if not transaction then
  return { 'transaction_not_found', transaction_id }
end

return { 'ok', transaction_json(transaction_id, transaction) }
