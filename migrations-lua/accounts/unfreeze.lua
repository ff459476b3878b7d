--[[
Lets money leave an account again, come in again, or both.

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

local status = account.status
if direction == 'both' or status == 'frozen_' .. direction then
  status = 'open'
elseif status == 'frozen_both' then
  status = direction == 'debits' and 'frozen_credits' or 'frozen_debits'
end
if status ~= account.status then
  account.status = status
  mark_account_dirty(account_key, account)
end

return { 'ok', account_json(account_id, account) }
