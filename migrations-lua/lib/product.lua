--- @include "lib/amount"

-- A product as it is kept. `next_due` is when the first of its holds ends, 0 where it has none;
-- the holds are a sorted set beside it, `quantity:reservation_id` scored by the instant they end.
local PRODUCT = '^{"on_hand":(%d+),"reserved":(%d+),"sold":(%d+),"next_due":(%d+),"version":(%d+),(.*)}$'
local MAX_QUANTITY = 1000000000000

-- Units whose time is up are free again at that millisecond, for whoever opens the product next.
-- They are taken back in memory only: a step that is refused writes nothing, not even this.
local function take_back(it, holds_key)
  local due = redis.call('ZRANGEBYSCORE', holds_key, '-inf', now)
  for i = 1, #due do
    it.reserved = it.reserved - due[i]:match('^(%d+):')
  end
  local first = redis.call('ZRANGEBYSCORE', holds_key, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  it.next_due = tonumber(first[2] or 0)
  it.took_back = true
  if it.reserved < 0 then
    broken(holds_key, 'the holds of its product')
  end
end

-- The product under a key, or nil where there is none.
local function product(key, holds_key)
  local known = live[key]
  if known then
    return known
  end
  local text = stored(key)
  if not text then
    return nil
  end
  local on_hand, reserved, sold, next_due, version, rest = text:match(PRODUCT)
  if not on_hand or #on_hand > 13 or #reserved > 13 or #sold > 15 or tonumber(reserved) > tonumber(on_hand) then
    broken(key, 'a product')
  end
  known = {
    on_hand = tonumber(on_hand),
    reserved = tonumber(reserved),
    sold = tonumber(sold),
    next_due = tonumber(next_due),
    version = tonumber(version),
    rest = rest,
    holds_key = holds_key,
    new_holds = {},
  }
  if known.next_due ~= 0 and known.next_due <= now then
    take_back(known, holds_key)
  end
  live[key] = known
  return known
end

local function encode_product(_, it)
  if it.took_back then
    queued[#queued + 1] = { 'ZREMRANGEBYSCORE', it.holds_key, '-inf', now }
  end
  if #it.new_holds > 0 then
    queued[#queued + 1] = { 'ZADD', it.holds_key, unpack(it.new_holds) }
  end
  return ('{"on_hand":%d,"reserved":%d,"sold":%d,"next_due":%d,"version":%d,'):format(
    it.on_hand, it.reserved, it.sold, it.next_due, it.version
  ) .. it.rest .. '}'
end

local function change_product(key, it)
  it.version = it.version + 1
  change(key, encode_product)
end
