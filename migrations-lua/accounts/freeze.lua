--[[
Stop money from leaving an account, from coming in, or both.

KEYS
  account_key            account
  holds_key              sorted set of holds

ARGV
  account_id             id
  direction              debits, credits or both
  expected_version       versions with a blank between them, or nothing to expect none

REPLY
  ok                     account:json
  account_not_found      role account_id
  version_mismatch       version expected
  account_closed         role account_id
]]
--- @include "lib/account_json"
--- @include "lib/version"

local account_key, holds_key = unpack(keys)
local account_id, direction, expected_version = unpack(args)

local it = account(account_key, holds_key)
if not it then
  return { 'account_not_found', 'account_id', account_id }
end
local refusal = another_version(it, expected_version)
if refusal then
  return refusal
end
if it.status == 'closed' then
  return { 'account_closed', 'account_id', account_id }
end

-- What is frozen already stays so: one direction and then the other are both.
local status = 'frozen_' .. direction
if it.status ~= 'open' and it.status ~= status then
  status = 'frozen_both'
end
if status ~= it.status then
  it.status = status
  change_account(account_key, it)
end

return { 'ok', account_json(account_id, it) }
