--- @include "lib/amount"
--- @export decode_transaction, encode_transaction, open_transaction, transaction_json

-- The record of a transaction, by which it is found and reversed. `reversed` is how much of it was reversed.
-- Its life is a setting of the service, counted from its last change.
local ID = '([%w._:@-]+)'
local TRANSACTION = '^{"reversed":"(%d+)","amount":"(%d+)","kind":"(%l+)","from_account":"' .. ID .. '","to_account":"' .. ID
  .. '","currency":"(%w+)","scale":(%d+),(.*)}$'

-- Returns the text of a transaction and its time to live.
function encode_transaction(_, transaction)
  return '{"reversed":"' .. transaction.reversed .. '","amount":"' .. transaction.amount .. '","kind":"' .. transaction.kind
    .. '","from_account":"' .. transaction.from_account .. '","to_account":"' .. transaction.to_account
    .. '","currency":"' .. transaction.currency .. '","scale":' .. transaction.scale .. ',' .. transaction.rest .. '}',
    transaction_ttl_ms
end

-- Returns the transaction that a text stands for.
function decode_transaction(key, text)
  local reversed, amount, kind, from_account, to_account, currency, scale, rest = text:match(TRANSACTION)
  if not reversed or #reversed > MAX_DIGITS or #amount > MAX_DIGITS or net(amount, '0', reversed, '0', '0') < 0 then
    fail_corrupt(key, 'a transaction')
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

-- Returns the transaction under a key, or nil where there is none.
function open_transaction(key)
  return open_record(key, decode_transaction)
end

-- Returns a transaction as the JSON that callers read, with instants in milliseconds.
function transaction_json(transaction_id, transaction)
  local status = 'completed'
  if transaction.reversed ~= '0' then
    status = transaction.reversed == transaction.amount and 'reversed' or 'partially_reversed'
  end
  return '{"transaction_id":"' .. transaction_id .. '","kind":"' .. transaction.kind .. '","status":"' .. status
    .. '","from_account":"' .. transaction.from_account .. '","to_account":"' .. transaction.to_account
    .. '","amount":"' .. decimal(transaction.amount, transaction.scale)
    .. '","reversed":"' .. decimal(transaction.reversed, transaction.scale)
    .. '","currency":"' .. transaction.currency .. '",' .. transaction.rest .. '}'
end
