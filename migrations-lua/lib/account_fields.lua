--- @include "lib/account"

-- What is told about an account, in the order of the headers that answer with it.
local function account_fields(account_id, it)
  local created_at, metadata = it.rest:match('^"created_at":(%d+),"metadata":({.*})$')
  if not created_at then
    broken(account_id, 'an account')
  end
  local max_balance = it.max_balance ~= '' and decimal(it.max_balance, it.scale)
  return account_id, it.currency, balance_of(it), available_in(it), decimal(it.held, it.scale),
    decimal(it.overdraft_limit, it.scale), max_balance, metadata, it.version, created_at
end
