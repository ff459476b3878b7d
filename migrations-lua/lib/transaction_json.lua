--- @include "lib/transaction"

-- What is told about a transaction.
local function transaction_json(transaction_id, it)
  local status = 'completed'
  if it.reversed ~= '0' then
    status = it.reversed == it.amount and 'reversed' or 'partially_reversed'
  end
  return '{"transaction_id":"' .. transaction_id .. '","kind":"' .. it.kind .. '","status":"' .. status
    .. '","from_account":"' .. it.from_account .. '","to_account":"' .. it.to_account
    .. '","amount":"' .. decimal(it.amount, it.scale) .. '","reversed":"' .. decimal(it.reversed, it.scale)
    .. '","currency":"' .. it.currency .. '",' .. it.rest .. '}'
end
