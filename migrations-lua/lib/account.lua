--- @include "lib/amount"

-- An account as it is kept: JSON with its fields in this order, every amount a string of minor units.
-- One pattern decodes it and checks it, so a record that was made by hand is an error, not money.
local ACCOUNT = '^{"credits":"(%d+)","debits":"(%d+)","held":"(%d+)","postings":(%d+),"version":(%d+),'
  .. '"overdraft_limit":"(%d+)","max_balance":"(%d*)","currency":"(%w+)","scale":(%d+),(.*)}$'

local function decode_account(key, text)
  local credits, debits, held, postings, version, overdraft_limit, max_balance, currency, scale, rest = text:match(ACCOUNT)
  if not credits or #credits > MAX_DIGITS or #debits > MAX_DIGITS or #held > MAX_DIGITS
    or #overdraft_limit > MAX_DIGITS or #max_balance > MAX_DIGITS then
    broken(key, 'an account')
  end
  local known = {
    credits = credits,
    debits = debits,
    held = held,
    postings = tonumber(postings),
    version = tonumber(version),
    overdraft_limit = overdraft_limit,
    max_balance = max_balance,
    currency = currency,
    scale = tonumber(scale),
    rest = rest,
  }
  live[key] = known
  return known
end

-- The account under a key, or nil where there is none.
local function account(key)
  local known = live[key]
  if known then
    return known
  end
  local text = stored(key)
  return text and decode_account(key, text)
end

local function encode_account(_, it)
  return '{"credits":"' .. it.credits .. '","debits":"' .. it.debits .. '","held":"' .. it.held
    .. '","postings":' .. it.postings .. ',"version":' .. it.version
    .. ',"overdraft_limit":"' .. it.overdraft_limit .. '","max_balance":"' .. it.max_balance
    .. '","currency":"' .. it.currency .. '","scale":' .. it.scale .. ',' .. it.rest .. '}'
end

-- Opens a new account in memory; whoever changes it next has it written.
local function new_account(key, currency, scale, overdraft_limit, max_balance, metadata)
  live[key] = {
    credits = '0',
    debits = '0',
    held = '0',
    postings = 0,
    version = 0,
    overdraft_limit = overdraft_limit,
    max_balance = max_balance,
    currency = currency,
    scale = tonumber(scale),
    rest = '"created_at":' .. now .. ',"metadata":' .. metadata,
  }
  return live[key]
end

local function balance_of(it)
  local high, low = net(it.credits, '0', it.debits, '0', '0')
  return signed_decimal(high, low, it.scale)
end

local function available_in(it)
  local high, low = net(it.credits, it.overdraft_limit, it.debits, it.held, '0')
  return signed_decimal(high, low, it.scale)
end
