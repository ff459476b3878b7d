--- @include "lib/actor"
--- @include "lib/amount"
--- @export DEPOSIT, WITHDRAWAL, TRANSFER, CAPTURE, REVERSAL, SWEEP, kind_name, pack_transaction, open_transaction, change_transaction, transaction_json

-- The record of a transaction, by which it is found and reversed: a field of a hash that has the transactions
-- of one second and ends as a whole. The field is the 16 bytes of the transaction's id. `reversed` is how much
-- of it was reversed. A text begins with its layout: in layouts 1 and 3 amounts are numbers, and in layout 2, for
-- amounts of 10^15 and more, digits. Layout 3 leaves out what most transactions do not have: a part that was
-- reversed, a hold, and a transaction that they reverse. The description and the metadata are JSON, and empty for the
-- usual `null` and `{}`. Behind the metadata stands the caller's key, by `lib/actor.lua`.
local NARROW = '<BBBdddssssss'
local WIDE = '<BBBdssssssss'
local PLAIN = '<BBBddssss'
-- The same with the rest of the text, for packing.
local WHOLE_NARROW = '<BBBdddssssssc0'
local WHOLE_WIDE = '<BBBdssssssssc0'
local WHOLE_PLAIN = '<BBBddssssc0'

-- The kinds of transactions, as records have them.
DEPOSIT = 1
WITHDRAWAL = 2
TRANSFER = 3
CAPTURE = 4
REVERSAL = 5
SWEEP = 6

local loaded_texts = nil -- by hash key and field: the text that the field holds

-- Returns the word for a kind, or nil where there is no such kind.
function kind_name(kind)
  return ({ 'deposit', 'withdrawal', 'transfer', 'capture', 'reversal', 'sweep' })[kind]
end

-- Returns the text of a transaction. The description and the metadata are as the record has them; `hold_id` and
-- `reverses` are nil for most.
function pack_transaction(kind, scale, created_at, amount, reversed, from_account, to_account, currency, hold_id, reverses,
  description, metadata)
  if amount + reversed >= SMALL then
    return struct.pack(WHOLE_WIDE, 2, kind, scale, created_at, digits_of(amount), digits_of(reversed), from_account,
      to_account, currency, hold_id or '', reverses or '', description, metadata)
  end
  if reversed == 0 and not hold_id and not reverses then
    return struct.pack(WHOLE_PLAIN, 3, kind, scale, created_at, amount, from_account, to_account, currency, description,
      metadata)
  end
  return struct.pack(WHOLE_NARROW, 1, kind, scale, created_at, amount, reversed, from_account, to_account, currency,
    hold_id or '', reverses or '', description, metadata)
end

-- Returns the transaction that a text stands for.
local function decode_transaction(key, text)
  local transaction, layout_byte, at = { reversed = 0 }, text:byte(1), nil
  if layout_byte == 3 and #text > 20 then
    layout_byte, transaction.kind, transaction.scale, transaction.created_at, transaction.amount, transaction.from_account,
      transaction.to_account, transaction.currency, transaction.description,
      at = struct.unpack(PLAIN, text)
  elseif (layout_byte == 1 or layout_byte == 2) and #text > 30 then
    layout_byte, transaction.kind, transaction.scale, transaction.created_at, transaction.amount, transaction.reversed,
      transaction.from_account, transaction.to_account, transaction.currency, transaction.hold_id, transaction.reverses,
      transaction.description,
      at = struct.unpack(layout_byte == 1 and NARROW or WIDE, text)
  end
  if layout_byte == 2 then
    transaction.amount, transaction.reversed = amount_of(transaction.amount), amount_of(transaction.reversed)
  end
  -- A number that is none fails every comparison.
  local is_transaction = kind_name(transaction.kind) and sign_of_net(transaction.amount, 0, transaction.reversed, 0, 0) >= 0
  if not is_transaction then
    fail_corrupt(key, 'transactions')
  end
  transaction.hold_id = transaction.hold_id ~= '' and transaction.hold_id or nil
  transaction.reverses = transaction.reverses ~= '' and transaction.reverses or nil
  transaction.metadata = text:sub(at)
  return transaction
end

-- Returns the transaction in a field of a hash, or nil where there is none.
function open_transaction(hash_key, field)
  local key = hash_key .. ' ' .. field
  local transaction = open_records[key]
  if not transaction then
    local text = redis.call('HGET', hash_key, field)
    if not text then
      return nil
    end
    transaction = decode_transaction(hash_key, text)
    loaded_texts = loaded_texts or {}
    open_records[key], loaded_texts[key] = transaction, text
  end
  return transaction
end

local function encode_changed_transaction(key, transaction)
  local hash_key, field = key:sub(1, -18), key:sub(-16)
  local text = pack_transaction(transaction.kind, transaction.scale, transaction.created_at, transaction.amount,
    transaction.reversed, transaction.from_account, transaction.to_account, transaction.currency, transaction.hold_id,
    transaction.reverses, transaction.description, transaction.metadata)
  set_field(hash_key, field, text, loaded_texts[key])
  queue_cleanup('PEXPIRE', hash_key, transaction_ttl_ms)
end

-- Has a transaction written that was opened and has changed.
function change_transaction(hash_key, field)
  mark_dirty(hash_key .. ' ' .. field, encode_changed_transaction)
end

-- Returns a transaction as the JSON that callers read, with instants in milliseconds.
function transaction_json(transaction_id, transaction)
  local status = 'completed'
  if transaction.reversed ~= 0 then
    status = transaction.reversed == transaction.amount and 'reversed' or 'partially_reversed'
  end
  local hold_id = transaction.hold_id and '"' .. transaction.hold_id .. '"' or 'null'
  local metadata, actor = split_actor(transaction.metadata)
  local reverses = transaction.reverses and '"' .. transaction.reverses .. '"' or 'null'
  return '{"transaction_id":"' .. transaction_id .. '","kind":"' .. kind_name(transaction.kind) .. '","status":"' .. status
    .. '","from_account":"' .. transaction.from_account .. '","to_account":"' .. transaction.to_account
    .. '","amount":"' .. decimal(transaction.amount, transaction.scale)
    .. '","reversed":"' .. decimal(transaction.reversed, transaction.scale)
    .. '","currency":"' .. transaction.currency .. '","hold_id":' .. hold_id .. ',"reverses":' .. reverses
    .. (',"created_at":%d'):format(transaction.created_at)
    .. ',"description":' .. (transaction.description == '' and 'null' or transaction.description)
    .. ',"metadata":' .. (metadata == '' and '{}' or metadata) .. actor .. '}'
end
