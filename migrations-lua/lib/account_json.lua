--- @include "lib/account"
--- @export account_json

-- Returns an account as the JSON that callers read, with instants in milliseconds.
function account_json(account_id, account)
  local scale = account.scale
  local status, direction = account.status:match('^(%l+)_?(%l*)$')
  local frozen = direction == '' and 'null' or '"' .. direction .. '"'
  local max_balance = account.max_balance and '"' .. decimal(account.max_balance, scale) .. '"' or 'null'
  return '{"account_id":"' .. account_id .. '","currency":"' .. account.currency
    .. '","balance":"' .. balance_of(account) .. '","available":"' .. available_in(account)
    .. '","held":"' .. decimal(account.held, scale) .. '","overdraft_limit":"' .. decimal(account.overdraft_limit, scale)
    .. '","max_balance":' .. max_balance .. ',"status":"' .. status .. '","frozen":' .. frozen
    .. ',"metadata":' .. account.metadata
    .. (',"version":%d,"created_at":%d}'):format(account.version, account.created_at)
end
