--- @include "lib/actor"
--- @include "lib/amount"
--- @include "lib/posting_layout"
--- @include "lib/transaction"
--- @export unpack_posting, postings_json

local UUID = ('%02x'):rep(16)

-- Returns the parts of a posting: its code (direction and kind), amount, balance and whether that is below
-- zero, instant in microseconds, 16 bytes of the transaction's id, counterparty, description, and metadata with the
-- caller's key.
function unpack_posting(log, text)
  local layout_byte = text:byte(1)
  local _, code, amount, balance, at_us, field, counterparty, description, position
  local is_negative
  if layout_byte == 1 and #text > 44 then
    _, code, amount, balance, at_us, field, counterparty, description, position = struct.unpack(NARROW_POSTING, text)
    is_negative = balance < 0
    balance = math.abs(balance)
  elseif layout_byte == 2 and #text > 30 then
    _, code, at_us, field, amount, balance, counterparty, description, position = struct.unpack(WIDE_POSTING, text)
    is_negative = balance:byte(1) == 45
    amount, balance = amount_of(amount), amount_of(is_negative and balance:sub(2) or balance)
  else
    fail_corrupt(log, 'postings')
  end
  return code, amount, balance, is_negative, at_us, field, counterparty, description, text:sub(position)
end

-- Replaces the postings in a list by the JSON that callers read, with instants in microseconds.
function postings_json(log, postings, scale)
  for i = 1, #postings do
    local code, amount, balance, is_negative, at_us, field, counterparty, description, rest = unpack_posting(log, postings[i])
    local metadata, actor = split_actor(rest)
    postings[i] = '{"direction":"' .. (code >= CREDIT and 'credit' or 'debit') .. '","counterparty":"' .. counterparty
      .. '","balance_after":"' .. decimal(balance, scale, is_negative) .. '","amount":"' .. decimal(amount, scale)
      .. '","kind":"' .. kind_name(code % CREDIT) .. '","description":' .. (description == '' and 'null' or description)
      .. ',"metadata":' .. (metadata == '' and '{}' or metadata)
      .. (',"created_at_us":%d,"transaction_id":"tx_'):format(at_us) .. UUID:format(field:byte(1, 16)) .. '"' .. actor .. '}'
  end
  return postings
end
