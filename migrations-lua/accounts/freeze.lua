--[[
Stops money from leaving an account, from coming in, or both.

KEYS
  account_key        record  account
  holds_key          zset    holds

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

local account = open_account(account_key, holds_key)
if not account then
  return { 'account_not_found', 'account_id', account_id }
end
local refusal = check_version(account, expected_version)
if refusal then
  return refusal
end
if account.status == 'closed' then
  return { 'account_closed', 'account_id', account_id }
end

-- A direction that is frozen stays so: one and then the other are both.
local status = 'frozen_' .. direction
if account.status ~= 'open' and account.status ~= status then
  status = 'frozen_both'
end
if status ~= account.status then
  account.status = status
  mark_account_dirty(account_key, account)
end

return { 'ok', account_json(account_id, account) }
