--[[
Returns the accounts whose ids the previous page named, and the ids of the next page. An account without a
sound record is left out.

READ ONLY

KEYS
  index_key      zset    the space's account ids
  * account_key  record  account
  * holds_key    zset    holds

ARGV
  after                  id to go on after, or nothing to begin
  count                  how many ids to name
  * account_id           id

REPLY
  ok                     accounts:json next
]]
--- @include "lib/account_json"
--- @include "lib/damage"
--- @include "lib/index_page"

-- Text that is no JSON would make the whole page unreadable.
local function listed_account(account_id, account_key, holds_key)
  local account = open_account(account_key, holds_key)
  if account and not account.metadata:find('^{.*}$') then
    fail_corrupt(account_key, 'an account')
  end
  return account and account_json(account_id, account)
end

local accounts = {}
for i = 1, line_count() do
  local account_key, holds_key = keys_of_line(i)
  local account_id = args_of_line(i)
  accounts[#accounts + 1] = unless_damaged(listed_account, account_id, account_key, holds_key)
end
return { 'ok', accounts, ids_after(index_key, after, count) }
