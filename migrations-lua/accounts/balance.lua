--[[
Tell the balance of an account.

READ ONLY

KEYS
  account_key            account
  holds_key              sorted set of holds

ARGV
  account_id             id

REPLY
  ok                     account_id currency balance available held
  account_not_found      role account_id
]]
--- @include "lib/account"

local account_key, holds_key = unpack(keys)
local account_id = unpack(args)

local it = account(account_key, holds_key)
if not it then
  return { 'account_not_found', 'account_id', account_id }
end

return { 'ok', account_id, it.currency, balance_of(it), available_in(it), decimal(it.held, it.scale) }
