--[[
Tell what an account holds, and its newest transactions.

READ ONLY

KEYS
  account_key            account
  account_log            log of postings

ARGV
  account_id             id

REPLY
  ok                     recent_transactions:json account_id currency balance available held overdraft_limit max_balance metadata:json version created_at
  account_not_found      role account_id
]]
--- @include "lib/account_fields"

local account_key, account_log = unpack(keys)
local account_id = unpack(args)

local it = account(account_key)
if not it then
  return { 'account_not_found', 'account_id', account_id }
end

return { 'ok', redis.call('LRANGE', account_log, -5, -1), account_fields(account_id, it) }
