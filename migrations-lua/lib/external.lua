--- @include "lib/account"
--- @export external_side

-- The external account of a currency is the other side of deposits and withdrawals: an account without a
-- floor and without a log. Its currency is known only from the account on this side, and every key is
-- declared before any account is read, so the external accounts of a space are the fields of one hash.
local loaded_fields = {} -- by hash key and currency: the text that the field holds

local function encode_external(key, account)
  set_field(key:match('^(.*) '), account.currency, encode_account(key, account), loaded_fields[key])
end

-- Returns the external account in the currency of `account`, as a side of a posting.
function external_side(hash_key, account)
  local key = hash_key .. ' ' .. account.currency
  local external = open_records[key]
  if not external then
    local text = redis.call('HGET', hash_key, account.currency)
    if text then
      external = decode_account(key, text)
      open_records[key], loaded_fields[key] = external, text
    else
      external = new_account(key, account.currency, account.scale, 0, nil, '{}')
    end
  end
  external.encode, external.id = encode_external, 'external'
  return external
end
