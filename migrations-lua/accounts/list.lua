--[[
Walk through the accounts of a space: tell about those that the call before named, and name the next ones.

READ ONLY

KEYS
  index_key              sorted set of the space's account ids
  * account_key          account
  * holds_key            sorted set of holds

ARGV
  after                  id to go on after, or nothing to begin
  count                  how many ids to name
  * account_id           id

REPLY
  ok                     accounts:json next
]]
--- @include "lib/account_json"

local index_key = unpack(keys)
local after, count = unpack(args)

local accounts = {}
for i = 1, (#keys - 1) / 2 do
  local account_key, holds_key = unpack(keys, 2 * i)
  local account_id = unpack(args, i + 2)
  local it = account(account_key, holds_key) or broken(account_key, 'an account')
  accounts[i] = account_json(account_id, it)
end
local start = after == '' and '-' or '(' .. after
return { 'ok', accounts, redis.call('ZRANGEBYLEX', index_key, start, '+', 'LIMIT', 0, count) }
