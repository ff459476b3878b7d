--- @include "lib/expiry"
--- @include "lib/movement_layout"
--- @include "lib/product_hold"
--- @include "lib/product_limits"
--- @export append_movement, take_back_units, decode_product, open_product, new_product, write_product, change_product, low_stock_change, move_hold

-- The record of a product, packed: its version byte, numbers, and then `details`, which most steps carry along
-- unread (see `lib/product_details.lua`). `next_due` is when the first of its holds ends, 0 where it has none.
-- `low_stock` and `max_per_customer` are 0 where there is no such limit; `low` is 1 while fewer units than
-- `low_stock` are available.
local STOCK = '<BBdddddddd'
local DETAILS_AT = 67

-- Appends a change of the units that are held of a product to its log, by its code (see
-- `lib/movement_layout.lua`); `reserved` are those after it. `customer_id` is empty for what has expired, which no
-- caller has done.
function append_movement(product, code, quantity, reserved, reservation, customer_id, at)
  product.movements = product.movements + 1
  local movement = struct.pack(HELD_MOVEMENT, code, quantity, product.on_hand, reserved, at, reservation, customer_id)
  append(product.log_key, acting_key and customer_id ~= '' and movement .. acting_key or movement)
end

-- Takes back the units of reservations that have ended: they are free again at that millisecond, for whoever
-- opens the product next. This changes the product in memory only, because a step that is refused writes
-- nothing. Returns true if there are more than one step takes back.
function take_back_units(product)
  local members, more = expired_members(product.holds_key)
  local ended = product.ended or {}
  for i = 1, #members, 2 do
    local quantity, reservation = held_by(product.holds_key, members[i])
    product.reserved = product.reserved - quantity
    ended[#ended + 1] = { quantity = quantity, reservation = reservation, at = members[i + 1], reserved = product.reserved }
  end
  if product.reserved < 0 then
    fail_corrupt(product.holds_key, 'the holds of its product')
  end
  product.ended, product.ended_members = ended, members
  if not more then
    product.next_due = first_expiry_after_now(product.holds_key)
  end
  return more
end

-- Returns the product that a text stands for.
function decode_product(key, text)
  local layout_byte, low, on_hand, reserved, sold, next_due, movements, version, low_stock, max_per_customer
  if #text >= DETAILS_AT then
    layout_byte, low, on_hand, reserved, sold, next_due, movements, version, low_stock, max_per_customer = struct.unpack(STOCK, text)
  end
  -- A number that is none fails every comparison.
  local is_product = layout_byte == 1 and reserved >= 0 and reserved <= on_hand and on_hand <= MAX_QUANTITY
    and sold >= 0 and sold <= MAX_TOTAL and low_stock <= MAX_QUANTITY and max_per_customer <= MAX_QUANTITY
  if not is_product then
    fail_corrupt(key, 'a product')
  end
  -- One constructor: a table that grows is copied.
  return {
    low = low == 1,
    on_hand = on_hand,
    reserved = reserved,
    sold = sold,
    next_due = next_due,
    movements = movements,
    version = version,
    low_stock = low_stock,
    max_per_customer = max_per_customer,
    details = text:sub(DETAILS_AT),
    holds_key = false,
    log_key = false,
    ended = false, -- holds that have ended and were taken back, and get their movements when it is written
    ended_members = false,
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
  fields.holds_key, fields.log_key = holds_key, log_key
  open_records[key] = fields
  return fields
end

local function encode_product(_, product)
  local ended = product.ended_members
  if ended and #ended > 0 then
    -- Holds that have ended are the first of the set, whatever else has come or gone.
    remove_first_members(product.holds_key, ended)
  end
  if product.reserved == 0 then
    product.next_due = 0
  end
  return struct.pack(STOCK, 1, product.low and 1 or 0, product.on_hand, product.reserved, product.sold, product.next_due,
    product.movements, product.version, product.low_stock, product.max_per_customer) .. product.details
end

-- Has a product written. The expiries that were taken back get their movements first, before anything else
-- that happens to it.
function write_product(key, product)
  local ended = product.ended
  if ended then
    for i = 1, #ended do
      append_movement(product, EXPIRED, ended[i].quantity, ended[i].reserved, ended[i].reservation, '', ended[i].at)
    end
    product.ended = false
  end
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
function move_hold(product, reservation, before, after, expires_at, old_expires_at)
  local is_rescored = before == after
  if before > 0 and not is_rescored then
    remove_member(product.holds_key, old_expires_at or expires_at, hold_member(before, reservation))
  end
  if after > 0 then
    add_member(product.holds_key, expires_at, hold_member(after, reservation), is_rescored and old_expires_at or nil)
    if product.next_due == 0 or expires_at < product.next_due then
      product.next_due = expires_at
    end
  end
end
