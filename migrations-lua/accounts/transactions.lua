--[[
Returns one page of the transactions of an account, newest first.

READ ONLY

KEYS
  account_key        record  account
  account_log        log     postings

ARGV
  account_id             id
  newest                 number of the first posting of the page, or nothing for the newest
  limit                  the most postings to answer

REPLY
  ok                     newest transactions:json oldest:json trimmed account_created_at:instant
  account_not_found      role account_id
]]
--- @include "lib/account"
--- @include "lib/log_page"
--- @include "lib/posting_json"

local account = open_account(account_key)
if not account then
  return { 'account_not_found', 'account_id', account_id }
end

local page
page, newest = log_page(account_log, account.postings, newest, limit)
local oldest = redis.call('LINDEX', account_log, 0)
local trimmed = account.postings - redis.call('LLEN', account_log)
if oldest then
  oldest = postings_json(account_log, { oldest }, account.scale)[1]
end
return { 'ok', newest, postings_json(account_log, page, account.scale), oldest, trimmed, account.created_at }
