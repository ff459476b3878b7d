--[[
Packs products, movements, reservations, the holds of both domains, and locks, which were text. A reservation in an
idempotency record becomes the reply that `inventory/reserve` gives now.

KEYS lockstep:{*}:*
BATCH 10
]]
-- The entries of a collection that are read and written at once.
local BLOCK = 500

local function fail(key, expected)
  error(key .. ' does not hold ' .. expected, 0)
end

local function to_byte(digits)
  return string.char(tonumber(digits, 16))
end

-- Returns the 16 bytes of an id that the service has generated.
local function bytes_of(key, id)
  local digits = id:match('^%l+_(%x+)$')
  if not digits or #digits ~= 32 then
    fail(key, 'ids that the service has generated')
  end
  return (digits:gsub('%x%x', to_byte))
end

local PRODUCT = '^{"on_hand":(%d+),"reserved":(%d+),"sold":(%d+),"next_due":(%d+),"movements":(%d+),"version":(%d+),'
  .. '"low_stock":(%d+),"low":([01]),"max_per_customer":(%d+),(.*)}$'
local DETAILS = '^"initial":(%d+),"received":(-?%d+),"returned":(-?%d+),"damaged":(-?%d+),"lost":(-?%d+),"counted":(-?%d+),'
  .. '"other":(-?%d+),"price":"(%d+)","currency":"(%w+)","scale":(%d+),"created_at":(%d+),'
  .. '"name":(".*"),"description":(.*),"metadata":({.*})$'

local function pack_product(key, text)
  local on_hand, reserved, sold, next_due, movements, version, low_stock, low, max_per_customer, rest = text:match(PRODUCT)
  local initial, received, returned, damaged, lost, counted, other, price, currency, scale, created_at, name, description,
    metadata = (rest or ''):match(DETAILS)
  if not initial then
    fail(key, 'a product')
  end
  return struct.pack('<BBdddddddddddddddBdssss', 1, low, on_hand, reserved, sold, next_due, movements, version, low_stock,
    max_per_customer, initial, received, returned, damaged, lost, counted, other, scale, created_at, price, currency, name,
    description) .. metadata
end

local RESERVATION = '^{"status":"(%l+)","created_at":(%d+),"expires_at":(%d+),"extensions":(%d+),"reservation_id":"[%w_-]+",'
  .. '"customer_id":"([%w._:@-]+)","lines":%[(.*)%]}$'
local LINE = '{"product_id":"([%w._:@-]+)","quantity":(%d+),"confirmed":(%d+),"released":(%d+)}'
local STATUSES = { held = 1, confirmed = 2, cancelled = 3 }

local function pack_reservation(key, text)
  local status, created_at, expires_at, extensions, customer_id, lines = text:match(RESERVATION)
  if not STATUSES[status] then
    fail(key, 'a reservation')
  end
  local packed = { struct.pack('<BBBI6I6s', 1, STATUSES[status], extensions, created_at, expires_at, customer_id) }
  for product_id, quantity, confirmed, released in lines:gmatch(LINE) do
    packed[#packed + 1] = struct.pack('<sI5I5I5', product_id, quantity, confirmed, released)
  end
  return table.concat(packed)
end

local MOVEMENT = '^{"reason":"(%l+)","on_hand_change":(-?%d+),"reserved_change":(-?%d+),"on_hand":(%d+),"reserved":(%d+),'
  .. '"actor":(.-),"reference":(.*),"created_at":(%d+)}$'
local CODES = {
  reserved = 1, sold = 2, released = 3, expired = 4,
  initial = 16, received = 17, returned = 18, damaged = 19, lost = 20, counted = 21, other = 22,
}

local function pack_movement(key, text)
  local reason, on_hand_change, reserved_change, on_hand, reserved, actor, reference, created_at = text:match(MOVEMENT)
  local code = CODES[reason]
  if not code then
    fail(key, 'movements')
  end
  if code >= 16 then
    return struct.pack('<Bi6I5I5I6', code, on_hand_change, on_hand, reserved, created_at) .. (reference == 'null' and '' or reference)
  end
  return struct.pack('<BI5I5I5I6c16s', code, math.abs(reserved_change), on_hand, reserved, created_at,
    bytes_of(key, reference:sub(2, -2)), actor == 'null' and '' or actor:sub(2, -2))
end

-- Packs a log. All of its entries have the same form, because a piece runs as a whole.
local function pack_movements(key)
  if (redis.call('LINDEX', key, 0) or ''):sub(1, 1) ~= '{' then
    return
  end
  local entries = redis.call('LRANGE', key, 0, -1)
  for i = 1, #entries do
    entries[i] = pack_movement(key, entries[i])
  end
  redis.call('DEL', key)
  for first = 1, #entries, BLOCK do
    redis.call('RPUSH', key, unpack(entries, first, math.min(first + BLOCK - 1, #entries)))
  end
end

-- Packs the members of a set of holds by `pack`, which returns nil for one that is packed already.
local function pack_holds(key, pack)
  local members = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #members, 2 do
    local packed = pack(key, members[i])
    if packed then
      redis.call('ZADD', key, members[i + 1], packed)
      redis.call('ZREM', key, members[i])
    end
  end
end

local function pack_units(key, member)
  if #member ~= 21 then
    local quantity, reservation_id = member:match('^(%d+):([%w_]+)$')
    return quantity and struct.pack('<I5c16', quantity, bytes_of(key, reservation_id)) or fail(key, 'holds')
  end
end

-- A reservation as `inventory/reserve` answered it: nothing of it is extended, confirmed or released yet.
local RESERVED = '^{"reservation_id":"([%w_]+)","customer_id":"[%w._:@-]+","status":"held","lines":%[(.*)%],"extensions":0,'
  .. '"created_at":(%d+),"expires_at":(%d+)}$'
local RESERVED_LINE = '{"product_id":"[%w._:@-]+","quantity":%d+,"confirmed":(%d+),"released":(%d+),"held":%d+,"remaining":(%d+)(.-)}'
local LOW = { [',"low_stock":true'] = 1, [',"low_stock":false'] = 0, [''] = -1 }

-- Changes the replies of reservations in a reply, which may have others in it; returns true if there is one.
local function change_reply(reply)
  local reservation_id, lines, created_at, expires_at
  if reply[1] == 'ok' and #reply == 2 and type(reply[2]) == 'string' then
    reservation_id, lines, created_at, expires_at = reply[2]:match(RESERVED)
  end
  if not reservation_id then
    local is_changed = false
    for i = 1, #reply do
      is_changed = type(reply[i]) == 'table' and change_reply(reply[i]) or is_changed
    end
    return is_changed
  end
  local stock, is_untouched = {}, true
  for confirmed, released, remaining, low in lines:gmatch(RESERVED_LINE) do
    is_untouched = is_untouched and confirmed == '0' and released == '0'
    stock[#stock + 1], stock[#stock + 2] = tonumber(remaining), LOW[low]
  end
  if is_untouched and #stock > 0 then
    reply[2], reply[3], reply[4], reply[5] = reservation_id, tonumber(created_at), tonumber(expires_at), stock
    return true
  end
end

local function change_idempotency_record(key, text)
  local unpacked, reply = pcall(cmsgpack.unpack, text:sub(41))
  if unpacked and type(reply) == 'table' and change_reply(reply) then
    redis.call('SET', key, text:sub(1, 40) .. cmsgpack.pack(reply), 'KEEPTTL')
  end
end

local HOLD = '^{"status":"(%l+)","amount":"(%d+)","captured":"(%d+)","released":"(%d+)","from_account":"([%w._:@-]+)",'
  .. '"to_account":"([%w._:@-]+)","currency":"(%w+)","scale":(%d+),"expires_at":(%d+),"created_at":(%d+),'
  .. '"description":(.*),"metadata":({.*})}$'
local HOLD_STATUSES = { open = 1, captured = 2, released = 3 }

local function pack_hold(key, text)
  local status, amount, captured, released, from_account, to_account, currency, scale, expires_at, created_at, description,
    metadata = text:match(HOLD)
  if not HOLD_STATUSES[status] then
    fail(key, 'a hold')
  end
  local is_wide = amount + captured + released >= 1000000000000000
  return struct.pack(is_wide and '<BBBI6I6sssssss' or '<BBBI6I6dddssss', is_wide and 2 or 1, HOLD_STATUSES[status], scale, expires_at,
    created_at, amount, captured, released, from_account, to_account, currency, description) .. metadata
end

local LOCK = '^{"last_fencing_token":(%d+),"lease_id":"([%w_-]*)","owner":(".*"),"expires_at":(%d+),"metadata":({.*})}$'

-- A lock had one lease at most, which was exclusive and over this lock alone. The index has the name of the lock
-- when the lease is renewed.
local function pack_lock(key, text)
  local token, lease_id, owner, expires_at, metadata = text:match(LOCK)
  if not token then
    fail(key, 'a lock')
  end
  local lease_count = lease_id == '' and 0 or 1
  local head = struct.pack('<BBI2I2Bddd', 1, 1, 0, lease_count, 0, tonumber(token), 0, 0)
  if lease_count == 0 then
    return head
  end
  return head .. struct.pack('<ddBsss', tonumber(expires_at), tonumber(token), 1, lease_id, owner, metadata)
end

-- Packs a record unless it is packed already.
local function pack_record(key, pack)
  local text = redis.call('GET', key)
  if text and text:sub(1, 1) == '{' then
    redis.call('SET', key, pack(key, text), 'KEEPTTL')
  end
end

for i = 1, #keys do
  local key = keys[i]
  local kind = key:match('^lockstep:{[^}]*}:([%l_]+):')
  if kind == 'product' then
    pack_record(key, pack_product)
  elseif kind == 'reservation' then
    pack_record(key, pack_reservation)
  elseif kind == 'hold' then
    pack_record(key, pack_hold)
  elseif kind == 'lock' then
    pack_record(key, pack_lock)
  elseif kind == 'movements' then
    pack_movements(key)
  elseif kind == 'product_holds' then
    pack_holds(key, pack_units)
  elseif kind == 'once' then
    local text = redis.call('GET', key)
    if text then
      change_idempotency_record(key, text)
    end
  end
end
