--[[
Returns an account with its five newest transactions.

READ ONLY

KEYS
  account_key        record  account
  account_log        log     postings
  holds_key          zset    holds

ARGV
  account_id             id

REPLY
  ok                     account:json recent_transactions:json
  account_not_found      role account_id
]]
--- @include "lib/account_json"
--- @include "lib/posting_json"

local account = open_account(account_key, holds_key)
if not account then
  return { 'account_not_found', 'account_id', account_id }
end

return { 'ok', account_json(account_id, account), postings_json(account_log, redis.call('LRANGE', account_log, -5, -1), account.scale) }
