--[[
Change the limits of an account, or what its owner keeps beside it.

KEYS
  account_key            account
  holds_key              sorted set of holds

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

local account_key, holds_key = unpack(keys)
local account_id, expected_version, overdraft_limit, overdraft_decimals, max_balance, max_decimals, metadata = unpack(args)

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

local overdraft, max = it.overdraft_limit, it.max_balance
if overdraft_limit ~= '' then
  overdraft, refusal = minor_units(overdraft_limit, overdraft_decimals, it, 'overdraft_limit')
end
if not refusal and max_balance == 'none' then
  max = ''
elseif not refusal and max_balance ~= '' then
  max, refusal = minor_units(max_balance, max_decimals, it, 'max_balance')
end
if refusal then
  return refusal
end

-- What is held is in use as much as what is spent.
if overdraft_limit ~= '' and net(it.credits, overdraft, it.debits, it.held, '0') < 0 then
  local in_use = digits_of(net(it.debits, it.held, it.credits, '0', '0'))
  return {
    'limit_below_usage', account_id, 'overdraft_limit', decimal(overdraft, it.scale), decimal(in_use, it.scale), it.currency,
  }
end
if max_balance ~= '' and max ~= '' and net(max, it.debits, it.credits, '0', '0') < 0 then
  return { 'limit_below_usage', account_id, 'max_balance', decimal(max, it.scale), balance_of(it), it.currency }
end

local rest = it.rest
if metadata ~= '' then
  rest = rest:match('^"created_at":%d+') .. ',"metadata":' .. metadata
end
if overdraft ~= it.overdraft_limit or max ~= it.max_balance or rest ~= it.rest then
  it.overdraft_limit, it.max_balance, it.rest = overdraft, max, rest
  change_account(account_key, it)
end

return { 'ok', account_json(account_id, it) }
