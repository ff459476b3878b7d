--- @include "lib/account"

-- What is told about an account.
local function account_json(account_id, it)
  local created_at, metadata = it.rest:match('^"created_at":(%d+),"metadata":({.*})$')
  if not created_at then
    broken(account_id, 'an account')
  end
  local scale = it.scale
  local status, direction = it.status:match('^(%l+)_?(%l*)$')
  local frozen = direction == '' and 'null' or '"' .. direction .. '"'
  local max_balance = it.max_balance == '' and 'null' or '"' .. decimal(it.max_balance, scale) .. '"'
  return '{"account_id":"' .. account_id .. '","currency":"' .. it.currency
    .. '","balance":"' .. balance_of(it) .. '","available":"' .. available_in(it)
    .. '","held":"' .. decimal(it.held, scale) .. '","overdraft_limit":"' .. decimal(it.overdraft_limit, scale)
    .. '","max_balance":' .. max_balance .. ',"status":"' .. status .. '","frozen":' .. frozen
    .. ',"metadata":' .. metadata .. ',"version":' .. it.version .. ',"created_at":' .. created_at .. '}'
end
