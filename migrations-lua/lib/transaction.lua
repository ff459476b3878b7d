--- @include "lib/amount"

-- A transaction as it is kept, to be found by its id and to be reversed; `reversed` is how much of it
-- has been. It has an end, set by the service's configuration and counted from its last change.
local ID = '([%w._:@-]+)'
local TRANSACTION = '^{"reversed":"(%d+)","amount":"(%d+)","kind":"(%l+)","from_account":"' .. ID .. '","to_account":"' .. ID
  .. '","currency":"(%w+)","scale":(%d+),(.*)}$'

local function encode_transaction(_, it)
  return '{"reversed":"' .. it.reversed .. '","amount":"' .. it.amount .. '","kind":"' .. it.kind
    .. '","from_account":"' .. it.from_account .. '","to_account":"' .. it.to_account
    .. '","currency":"' .. it.currency .. '","scale":' .. it.scale .. ',' .. it.rest .. '}', transaction_ttl_ms
end

local function decode_transaction(key, text)
  local reversed, amount, kind, from_account, to_account, currency, scale, rest = text:match(TRANSACTION)
  if not reversed or #reversed > MAX_DIGITS or #amount > MAX_DIGITS or net(amount, '0', reversed, '0', '0') < 0 then
    broken(key, 'a transaction')
  end
  return {
    reversed = reversed,
    amount = amount,
    kind = kind,
    from_account = from_account,
    to_account = to_account,
    currency = currency,
    scale = tonumber(scale),
    rest = rest,
  }
end

-- The transaction under a key, or nil where there is none.
local function transaction(key)
  local known = live[key]
  if known then
    return known
  end
  local text = stored(key)
  if not text then
    return nil
  end
  live[key] = decode_transaction(key, text)
  return live[key]
end
