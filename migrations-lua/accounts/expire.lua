--[[
Take back the money of holds that have ended, so many as one go allows.

INTERNAL

KEYS
  account_key            account
  holds_key              sorted set of its holds

ARGV

REPLY
  ok                     more
]]
--- @include "lib/account"

local account_key, holds_key = unpack(keys)

local it = account(account_key)
if not it or it.next_due == 0 or it.next_due > now then
  return { 'ok', 0 }
end
if (it.ended or 0) > 0 then
  -- Another step of this script has just taken back what this one would; the set still has it.
  return { 'ok', 1 }
end
local more = take_holds_back(it, holds_key)
change(account_key, encode_account)
return { 'ok', more and 1 or 0 }
