--[[
Changes the limits or the metadata of an account.

KEYS
  account_key            record  account
  holds_key              zset    holds

ARGV
  account_id             id
  expected_version       versions with a blank between them, or nothing to expect none
  overdraft_limit        digits, or nothing to keep it
  overdraft_decimals     how many of them are decimals
  max_balance            digits, none to lift it, or nothing to keep it
  max_decimals           how many of them are decimals
  metadata               JSON, an object of strings, or nothing to keep it

REPLY
  ok                     account:json
  account_not_found      role account_id
  version_mismatch       version expected
  account_closed         role account_id
  limit_below_usage      account_id field requested in_use currency
  amount_scale_exceeded  currency scale field
  amount_out_of_range    currency field
]]
--- @include "lib/posting"
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

local overdraft, max = account.overdraft_limit, account.max_balance
if overdraft_limit ~= '' then
  overdraft, refusal = minor_units(overdraft_limit, overdraft_decimals, account, 'overdraft_limit')
end
if not refusal and max_balance == 'none' then
  max = nil
elseif not refusal and max_balance ~= '' then
  max, refusal = minor_units(max_balance, max_decimals, account, 'max_balance')
end
if refusal then
  return refusal
end

-- Held money is in use as much as spent money.
if overdraft_limit ~= '' and sign_of_net(account.credits, overdraft, account.debits, account.held, 0) < 0 then
  local in_use = net(account.debits, account.held, account.credits, 0, 0)
  return {
    'limit_below_usage', account_id, 'overdraft_limit', decimal(overdraft, account.scale),
    decimal(in_use, account.scale), account.currency,
  }
end
if max_balance ~= '' and max and sign_of_net(max, account.debits, account.credits, 0, 0) < 0 then
  return { 'limit_below_usage', account_id, 'max_balance', decimal(max, account.scale), balance_of(account), account.currency }
end

if metadata == '' then
  metadata = account.metadata
end
if overdraft ~= account.overdraft_limit or max ~= account.max_balance or metadata ~= account.metadata then
  account.overdraft_limit, account.max_balance, account.metadata = overdraft, max, metadata
  mark_account_dirty(account_key, account)
end

return { 'ok', account_json(account_id, account) }
