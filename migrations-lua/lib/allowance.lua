--- @export open_allowance, is_counted, units_used, change_allowance

-- The record of an allowance: the units of a product with a limit for each customer that one customer has
-- bought, and those that the customer's live reservations hold. It has no end once anything was bought;
-- before that, it ends with the last of the reservations.
local ALLOWANCE = '^{"bought":(%d+),"held":%[(.*)%]}$'
local HELD = '{"reservation_id":"([%w_-]+)","quantity":(%d+),"expires_at":(%d+)}'

local function encode_allowance(key, allowance)
  local held, last_end = {}, 0
  for i = 1, #allowance.held do
    local hold = allowance.held[i]
    held[i] = ('{"reservation_id":"%s","quantity":%d,"expires_at":%d}'):format(hold.reservation_id, hold.quantity, hold.expires_at)
    last_end = math.max(last_end, hold.expires_at)
  end
  if allowance.bought == 0 and #held == 0 then
    delete_record(key)
    return nil
  end
  local text = ('{"bought":%d,"held":[%s]}'):format(allowance.bought, table.concat(held, ','))
  if allowance.bought == 0 then
    return text, last_end - now
  end
  -- A record that has had an end loses it.
  return text, allowance.had_end and 0 or nil
end

local function decode_allowance(key, text)
  local bought, held = text:match(ALLOWANCE)
  if not bought then
    fail_corrupt(key, 'an allowance')
  end
  local allowance = { bought = tonumber(bought), held = {}, had_end = bought == '0' }
  for reservation_id, quantity, expires_at in held:gmatch(HELD) do
    if tonumber(expires_at) > now then
      allowance.held[#allowance.held + 1] = {
        reservation_id = reservation_id, quantity = tonumber(quantity), expires_at = tonumber(expires_at),
      }
    end
  end
  return allowance
end

-- Returns the allowance under a key, without the reservations that have ended; an empty one where there is
-- none.
function open_allowance(key)
  local allowance = open_record(key, decode_allowance)
  if not allowance then
    allowance = { bought = 0, held = {} }
    open_records[key] = allowance
  end
  return allowance
end

-- Returns true if a customer's units of a product are counted: the product has a limit, or had one when they
-- were reserved and may have one again.
function is_counted(product, key)
  return product.max_per_customer > 0 or open_records[key] or loaded[key]
end

-- Returns the units that were bought or are held.
function units_used(allowance)
  local used = allowance.bought
  for i = 1, #allowance.held do
    used = used + allowance.held[i].quantity
  end
  return used
end

-- Counts `bought` more units of a reservation as bought, and `remaining` as held until `expires_at`.
function change_allowance(key, reservation_id, bought, remaining, expires_at)
  local allowance = open_allowance(key)
  allowance.bought = allowance.bought + bought
  for i = #allowance.held, 1, -1 do
    if allowance.held[i].reservation_id == reservation_id then
      table.remove(allowance.held, i)
    end
  end
  if remaining > 0 then
    allowance.held[#allowance.held + 1] = { reservation_id = reservation_id, quantity = remaining, expires_at = expires_at }
  end
  mark_dirty(key, encode_allowance)
end
