--[[
Tell what a transaction moved, and how much of it has been reversed.

READ ONLY

KEYS
  transaction_key        transaction

ARGV
  transaction_id         id

REPLY
  ok                     transaction:json
  transaction_not_found  transaction_id
]]
--- @include "lib/transaction_json"

local transaction_key = unpack(keys)
local transaction_id = unpack(args)

local it = transaction(transaction_key)
if not it then
  return { 'transaction_not_found', transaction_id }
end

return { 'ok', transaction_json(transaction_id, it) }
