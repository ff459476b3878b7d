--- @include "lib/account"

-- The outside world in one currency is the other side of deposits and withdrawals: an account with no
-- floor and no log. Only the account on this side knows the currency, and every key is declared before
-- any account is read, so the outside accounts of a space are the fields of one hash.
local function encode_external(key, it)
  queued[#queued + 1] = { 'HSET', key:match('^(.*) '), it.currency, encode_account(key, it) }
end

local function external_side(hash_key, like)
  local key = hash_key .. ' ' .. like.currency
  if not live[key] then
    local text = redis.call('HGET', hash_key, like.currency)
    if text then
      decode_account(key, text)
    else
      new_account(key, like.currency, like.scale, '0', '', '{}')
    end
  end
  local it = live[key]
  it.encode, it.id = encode_external, 'external'
  return it
end
