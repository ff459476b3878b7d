--[[
Returns the balance of an account.

READ ONLY

KEYS
  account_key        record  account
  holds_key          zset    holds

ARGV
  account_id             id

REPLY
  ok                     account_id currency balance available held
  account_not_found      role account_id
]]
--- @include "lib/account"

local account = open_account(account_key, holds_key)
if not account then
  return { 'account_not_found', 'account_id', account_id }
end

return { 'ok', account_id, account.currency, balance_of(account), available_in(account), decimal(account.held, account.scale) }
