--- @include "lib/amount"
--- @include "lib/due"

-- A product as it is kept. `next_due` is when the first of its holds ends, 0 where it has none; the
-- holds are a sorted set beside it, `quantity:reservation_id` scored by the instant they end.
-- `low_stock` and `max_per_customer` are 0 where there is no such limit, `low` is 1 while the stock is
-- below the first of them. `rest` begins with what the stock began with and what changed it since.
local PRODUCT = '^{"on_hand":(%d+),"reserved":(%d+),"sold":(%d+),"next_due":(%d+),"movements":(%d+),"version":(%d+),'
  .. '"low_stock":(%d+),"low":([01]),"max_per_customer":(%d+),(.*)}$'
local MAX_QUANTITY = 1000000000000

-- Writes a change into the log of a product, whose figures are those after it. `actor` and
-- `reference` are JSON.
local function movement(it, reason, on_hand_change, reserved_change, reserved, actor, reference, created_at)
  it.movements = it.movements + 1
  append(it.log_key, ('{"reason":"%s","on_hand_change":%d,"reserved_change":%d,"on_hand":%d,"reserved":%d,"actor":%s,"reference":%s,"created_at":%d}'):format(
    reason, on_hand_change, reserved_change, it.on_hand, reserved, actor, reference, created_at
  ))
end

-- Units whose time is up are free again at that millisecond, for whoever opens the product next.
-- They are taken back in memory only: a step that is refused writes nothing, not even this. Answers
-- whether there is more of it.
local function take_units_back(it)
  local due = redis.call('ZRANGEBYSCORE', it.holds_key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, DUE_AT_ONCE + 1)
  local more = #due > 2 * DUE_AT_ONCE
  for i = 1, math.min(#due, 2 * DUE_AT_ONCE), 2 do
    local quantity, reservation_id = due[i]:match('^(%d+):([%w_-]+)$')
    if not quantity then
      broken(it.holds_key, 'holds')
    end
    it.reserved = it.reserved - quantity
    it.ended[#it.ended + 1] = { quantity = quantity, reservation_id = reservation_id, at = due[i + 1], reserved = it.reserved }
  end
  if it.reserved < 0 then
    broken(it.holds_key, 'the holds of its product')
  end
  if not more then
    local next = redis.call('ZRANGEBYSCORE', it.holds_key, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    it.next_due = tonumber(next[2] or 0)
  end
  return more
end

local function decode_product(key, text)
  local on_hand, reserved, sold, next_due, movements, version, low_stock, low, max_per_customer, rest = text:match(PRODUCT)
  if not on_hand or #on_hand > 13 or #reserved > 13 or #sold > 15 or #low_stock > 13 or #max_per_customer > 13
    or tonumber(reserved) > tonumber(on_hand) then
    broken(key, 'a product')
  end
  return {
    on_hand = tonumber(on_hand),
    reserved = tonumber(reserved),
    sold = tonumber(sold),
    next_due = tonumber(next_due),
    movements = tonumber(movements),
    version = tonumber(version),
    low_stock = tonumber(low_stock),
    low = low == '1',
    max_per_customer = tonumber(max_per_customer),
    rest = rest,
    ended = {},
    written = 0,
  }
end

-- The product under a key, or nil where there is none.
local function product(key, holds_key, log_key)
  local it = live[key]
  if not it then
    local text = stored(key)
    if not text then
      return nil
    end
    it = decode_product(key, text)
    it.holds_key, it.log_key = holds_key, log_key
    live[key] = it
  end
  if it.next_due ~= 0 and it.next_due <= now and take_units_back(it) then
    first('inventory/expire', key, holds_key, log_key)
  end
  return it
end

local function encode_product(_, it)
  if #it.ended > 0 then
    -- Those that have ended are the first of the set, whatever else has come or gone.
    queued[#queued + 1] = { 'ZREMRANGEBYRANK', it.holds_key, 0, #it.ended - 1 }
  end
  if it.reserved == 0 then
    it.next_due = 0
  end
  return ('{"on_hand":%d,"reserved":%d,"sold":%d,"next_due":%d,"movements":%d,"version":%d,"low_stock":%d,"low":%d,"max_per_customer":%d,'):format(
    it.on_hand, it.reserved, it.sold, it.next_due, it.movements, it.version, it.low_stock, it.low and 1 or 0, it.max_per_customer
  ) .. it.rest .. '}'
end

-- Has a product written, and before anything else that happens to it what its holds gave back.
local function write_product(key, it)
  for i = it.written + 1, #it.ended do
    local hold = it.ended[i]
    movement(it, 'expired', 0, -hold.quantity, hold.reserved, 'null', '"' .. hold.reservation_id .. '"', hold.at)
  end
  it.written = #it.ended
  change(key, encode_product)
end

local function change_product(key, it)
  it.version = it.version + 1
  write_product(key, it)
end

-- Whether a product has just become low (true) or is no longer low (false): each is told once, so it
-- answers nil where nothing has been crossed.
local function crossed(it)
  local low = it.on_hand - it.reserved < it.low_stock
  if low ~= it.low then
    it.low = low
    return low
  end
end

-- The units of a product that are no longer set aside for a reservation: `left` of `before` still are.
local function set_units_aside(it, reservation_id, before, left, expires_at)
  if before > 0 then
    queued[#queued + 1] = { 'ZREM', it.holds_key, ('%d:%s'):format(before, reservation_id) }
  end
  if left > 0 then
    queued[#queued + 1] = { 'ZADD', it.holds_key, expires_at, ('%d:%s'):format(left, reservation_id) }
    if it.next_due == 0 or expires_at < it.next_due then
      it.next_due = expires_at
    end
  end
end
