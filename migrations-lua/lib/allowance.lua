-- What a customer has of a product that has a limit for each customer: units bought, and those of live
-- reservations. It lasts once anything was bought; before, it ends with the last of the reservations.
local ALLOWANCE = '^{"bought":(%d+),"held":%[(.*)%]}$'
local HELD = '{"reservation_id":"([%w_-]+)","quantity":(%d+),"expires_at":(%d+)}'

local function encode_allowance(key, it)
  local held, last = {}, 0
  for i = 1, #it.held do
    local one = it.held[i]
    held[i] = ('{"reservation_id":"%s","quantity":%d,"expires_at":%d}'):format(one.reservation_id, one.quantity, one.expires_at)
    last = math.max(last, one.expires_at)
  end
  if it.bought == 0 and #held == 0 then
    queued[#queued + 1] = { 'DEL', key }
    return nil
  end
  local text = ('{"bought":%d,"held":[%s]}'):format(it.bought, table.concat(held, ','))
  if it.bought == 0 then
    return text, last - now
  end
  return text
end

-- The allowance under a key, without what has ended; empty where there is none yet.
local function allowance(key)
  local it = live[key]
  if it then
    return it
  end
  it = { bought = 0, held = {} }
  local text = stored(key)
  if text then
    local bought, held = text:match(ALLOWANCE)
    if not bought then
      broken(key, 'an allowance')
    end
    it.bought = tonumber(bought)
    for reservation_id, quantity, expires_at in held:gmatch(HELD) do
      if tonumber(expires_at) > now then
        it.held[#it.held + 1] = {
          reservation_id = reservation_id, quantity = tonumber(quantity), expires_at = tonumber(expires_at),
        }
      end
    end
  end
  live[key] = it
  return it
end

-- Whether a customer's units of a product are counted: the product has a limit, or had one when they
-- were reserved, and may have one again.
local function is_counted(stock, key)
  return stock.max_per_customer > 0 or live[key] or loaded[key]
end

local function used_of(it)
  local used = it.bought
  for i = 1, #it.held do
    used = used + it.held[i].quantity
  end
  return used
end

-- Notes that of a reservation `bought` more units are bought and `left` are still held until
-- `expires_at`.
local function note_allowance(key, reservation_id, bought, left, expires_at)
  local it = allowance(key)
  it.bought = it.bought + bought
  for i = #it.held, 1, -1 do
    if it.held[i].reservation_id == reservation_id then
      table.remove(it.held, i)
    end
  end
  if left > 0 then
    it.held[#it.held + 1] = { reservation_id = reservation_id, quantity = left, expires_at = expires_at }
  end
  change(key, encode_allowance)
end
