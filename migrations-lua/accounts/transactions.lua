--[[
Page through the transactions of an account.

READ ONLY

KEYS
  account_key            account
  account_log            log of postings

ARGV
  account_id             id
  newest                 number of the first posting of the page, or nothing for the newest
  limit                  the most postings to answer

REPLY
  ok                     newest transactions:json oldest:json trimmed account_created_at:instant
  account_not_found      role account_id
]]
--- @include "lib/account"

local account_key, account_log = unpack(keys)
local account_id, newest, limit = unpack(args)

local it = account(account_key)
if not it then
  return { 'account_not_found', 'account_id', account_id }
end

-- Postings are numbered from 1, so counted from the end of the log the number n stays where it is
-- while newer ones arrive, and while the oldest are trimmed.
newest = newest == '' and it.postings or math.min(tonumber(newest), it.postings)
local last = newest - it.postings - 1
local page = redis.call('LRANGE', account_log, last - limit + 1, last)
local oldest = redis.call('LINDEX', account_log, 0)
local trimmed = it.postings - redis.call('LLEN', account_log)
return { 'ok', newest, page, oldest, trimmed, it.rest:match('^"created_at":(%d+)') }
