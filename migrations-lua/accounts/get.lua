--[[
Tell what an account holds, and its newest transactions.

READ ONLY

KEYS
  account_key            account
  account_log            log of postings
  holds_key              sorted set of holds

ARGV
  account_id             id

REPLY
  ok                     account:json recent_transactions:json
  account_not_found      role account_id
]]
--- @include "lib/account_json"

local account_key, account_log, holds_key = unpack(keys)
local account_id = unpack(args)

local it = account(account_key, holds_key)
if not it then
  return { 'account_not_found', 'account_id', account_id }
end

return { 'ok', account_json(account_id, it), redis.call('LRANGE', account_log, -5, -1) }
