--- @include "lib/amount"
--- @include "lib/expiry"
--- @export MAX_QUANTITY, append_movement, take_back_units, decode_product, open_product, new_product, write_product, change_product, low_stock_change, move_hold

-- The record of a product. `next_due` is when the first of its holds ends, 0 where it has none. The holds are
-- a sorted set beside it, with members `quantity:reservation_id` scored by the instant at which they end.
-- `low_stock` and `max_per_customer` are 0 where there is no such limit; `low` is 1 while fewer units than
-- `low_stock` are available. `rest` begins with the initial stock and the sums of what changed it.
local PRODUCT = '^{"on_hand":(%d+),"reserved":(%d+),"sold":(%d+),"next_due":(%d+),"movements":(%d+),"version":(%d+),'
  .. '"low_stock":(%d+),"low":([01]),"max_per_customer":(%d+),(.*)}$'
MAX_QUANTITY = 1000000000000

-- Appends a change to the log of a product; its figures are those after it. `actor` and `reference` are JSON.
function append_movement(product, reason, on_hand_change, reserved_change, reserved, actor, reference, created_at)
  product.movements = product.movements + 1
  local form = '{"reason":"%s","on_hand_change":%d,"reserved_change":%d,"on_hand":%d,"reserved":%d,'
    .. '"actor":%s,"reference":%s,"created_at":%d}'
  append(product.log_key, form:format(
    reason, on_hand_change, reserved_change, product.on_hand, reserved, actor, reference, created_at
  ))
end

-- Takes back the units of reservations that have ended: they are free again at that millisecond, for whoever
-- opens the product next. This changes the product in memory only, because a step that is refused writes
-- nothing. Returns true if there are more than one step takes back.
function take_back_units(product)
  local members, more = expired_members(product.holds_key)
  for i = 1, #members, 2 do
    local quantity, reservation_id = members[i]:match('^(%d+):([%w_-]+)$')
    if not quantity then
      fail_corrupt(product.holds_key, 'holds')
    end
    product.reserved = product.reserved - quantity
    product.ended[#product.ended + 1] = {
      quantity = quantity, reservation_id = reservation_id, at = members[i + 1], reserved = product.reserved,
    }
  end
  if product.reserved < 0 then
    fail_corrupt(product.holds_key, 'the holds of its product')
  end
  product.ended_members = members
  if not more then
    product.next_due = first_expiry_after_now(product.holds_key)
  end
  return more
end

-- Returns the product that a text stands for.
function decode_product(key, text)
  local on_hand, reserved, sold, next_due, movements, version, low_stock, low, max_per_customer, rest = text:match(PRODUCT)
  if not on_hand or #on_hand > 13 or #reserved > 13 or #sold > 15 or #low_stock > 13 or #max_per_customer > 13
    or tonumber(reserved) > tonumber(on_hand) then
    fail_corrupt(key, 'a product')
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
    ended = {}, -- holds that have ended and were taken back
    ended_written = 0, -- how many of them have their movement
  }
end

-- Returns the product under a key, or nil where there is none.
function open_product(key, holds_key, log_key)
  local product = open_record(key, decode_product)
  if not product then
    return nil
  end
  product.holds_key, product.log_key = holds_key, log_key
  if product.next_due ~= 0 and product.next_due <= now and take_back_units(product) then
    require_first('inventory/expire', key, holds_key, log_key)
  end
  return product
end

-- Opens a new product in memory.
function new_product(key, holds_key, log_key, fields)
  fields.reserved, fields.sold, fields.next_due, fields.movements, fields.version = 0, 0, 0, 0, 1
  fields.low = fields.on_hand < fields.low_stock
  fields.ended, fields.ended_written = {}, 0
  fields.holds_key, fields.log_key = holds_key, log_key
  open_records[key] = fields
  return fields
end

local function encode_product(_, product)
  if product.ended_members and #product.ended_members > 0 then
    -- Holds that have ended are the first of the set, whatever else has come or gone.
    remove_first_members(product.holds_key, product.ended_members)
  end
  if product.reserved == 0 then
    product.next_due = 0
  end
  local form = '{"on_hand":%d,"reserved":%d,"sold":%d,"next_due":%d,"movements":%d,"version":%d,'
    .. '"low_stock":%d,"low":%d,"max_per_customer":%d,'
  return form:format(
    product.on_hand, product.reserved, product.sold, product.next_due, product.movements, product.version,
    product.low_stock, product.low and 1 or 0, product.max_per_customer
  ) .. product.rest .. '}'
end

-- Has a product written. The expiries that were taken back get their movements first, before anything else
-- that happens to it.
function write_product(key, product)
  for i = product.ended_written + 1, #product.ended do
    local hold = product.ended[i]
    append_movement(product, 'expired', 0, -hold.quantity, hold.reserved, 'null', '"' .. hold.reservation_id .. '"', hold.at)
  end
  product.ended_written = #product.ended
  mark_dirty(key, encode_product)
end

-- Counts the product's version up and has it written.
function change_product(key, product)
  product.version = product.version + 1
  write_product(key, product)
end

-- Returns true where the product has just become low, false where it is no longer low, and nil where nothing
-- has changed since it was told last.
function low_stock_change(product)
  local low = product.on_hand - product.reserved < product.low_stock
  if low ~= product.low then
    product.low = low
    return low
  end
end

-- Changes the units that a reservation holds of a product from `before` to `after`. They are held until
-- `expires_at`; `old_expires_at` is until when they were held before, where that changes.
function move_hold(product, reservation_id, before, after, expires_at, old_expires_at)
  local is_rescored = before == after
  if before > 0 and not is_rescored then
    remove_member(product.holds_key, old_expires_at or expires_at, ('%d:%s'):format(before, reservation_id))
  end
  if after > 0 then
    add_member(product.holds_key, expires_at, ('%d:%s'):format(after, reservation_id), is_rescored and old_expires_at or nil)
    if product.next_due == 0 or expires_at < product.next_due then
      product.next_due = expires_at
    end
  end
end
