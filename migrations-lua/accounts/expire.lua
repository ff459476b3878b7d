--[[
Takes back the money of holds that have ended, at most 1,000 at a time.

INTERNAL

KEYS
  account_key  record  account
  holds_key    zset    its holds

ARGV

REPLY
  ok                     more
]]
--- @include "lib/account"

local account = open_account(account_key)
if not account or account.next_due == 0 or account.next_due > now then
  return { 'ok', 0 }
end
if account.ended_holds then
  -- Another step of this script has taken them back already; the set still has them.
  return { 'ok', 1 }
end
local more = take_back_holds(account, holds_key)
mark_dirty(account_key, encode_account)
return { 'ok', more and 1 or 0 }
