#!lua
-- The frame that every call runs in. `README.md` beside this file is its contract; the loader puts
-- the shared functions and the operations of one script in the place of the line `--- @operations`,
-- and in `records` where, by its header, an operation has records among its keys: their positions
-- among those that come once, how many those are, and the same for the keys of each line. Of an
-- operation that runs others nothing is known, and all its keys are looked up.
--
-- ARGV: clock_ahead_ms, once_ttl_ms, transaction_ttl_ms, history, then for each step
--       operation, key_count, arg_count, fingerprint, and its arguments.
-- KEYS: for each step its keys, and after them its idempotency record where it has a fingerprint.
-- Answer: for each step two values, whether it is a replay (1 or 0) and the reply.
--
-- Nothing is written before the commit at the end, so an error or a refusal leaves Redis as it was.

local clock_ahead_ms, once_ttl_ms, transaction_ttl_ms, history = unpack(ARGV, 1, 4)
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2] + clock_ahead_ms * 1000
local now = math.floor(now_us / 1000)

local loaded = {} -- what MGET gave for the key of a record; false where it gave nothing
local absent = {} -- keys that have been seen to hold nothing at all
local live = {} -- the records that a step has opened, decoded, as the steps so far have left them
local encoders, changed, changed_count = {}, {}, 0 -- by key, how to write what has changed; and those keys in order
local logs, log_order, log_count = {}, {}, 0 -- by key, the entries to append; and those keys in order
local ending, ending_count = {}, 0 -- of what has an end: key, text and time to live, one after the other
local queued = {} -- commands on collections whose type a step has already seen

-- The text of a record, or nil where there is none. MGET answers nothing for a key of another type
-- too, and to take that for absence would overwrite what somebody else keeps there.
local function stored(key)
  local text = loaded[key]
  if text then
    return text
  end
  if text == nil then
    error(key .. ' is no record by the header of the script', 0)
  end
  if not absent[key] then
    if redis.call('EXISTS', key) == 1 then
      error('WRONGTYPE ' .. key .. ' is not a record', 0)
    end
    absent[key] = true
  end
  return nil
end

-- Marks an open record as changed. At the commit `encode(key, record)` answers its text, and its
-- time to live in milliseconds if it has an end; or nothing, if it has queued what it needs itself.
local function change(key, encode)
  if not encoders[key] then
    changed_count = changed_count + 1 -- here and below, `#` of a long list is a search
    changed[changed_count] = key
  end
  encoders[key] = encode
end

-- Has a record with an end written that no step of this script opens, for it is new.
local function create(key, text, ttl_ms)
  ending[ending_count + 1], ending[ending_count + 2], ending[ending_count + 3] = key, text, ttl_ms
  ending_count = ending_count + 3
end

-- Appends an entry to a log, of which at least the newest `history` are kept.
local function append(key, entry)
  local entries = logs[key]
  if entries then
    entries[#entries + 1] = entry
  else
    logs[key] = { entry }
    log_count = log_count + 1
    log_order[log_count] = key
  end
end

local function broken(key, what)
  error(key .. ' does not hold ' .. what, 0)
end

-- Ends the script, with nothing written: the service first runs another operation on these keys, as
-- often as it takes, and then this one again. So that what has piled up is worked off in small parts.
local function first(operation, ...)
  error({ err = table.concat({ 'FIRST', operation, ... }, ' ') })
end

local alone = false -- whether the step that runs has the script to itself

-- Forgets all that would have been written. The records in memory are then no longer what is stored,
-- so no other step may see them: where there is one, the script ends, and the service sends each alone.
local function forget_changes()
  if not alone then
    error({ err = 'ALONE' })
  end
  encoders, changed, changed_count = {}, {}, 0
  logs, log_order, log_count = {}, {}, 0
  ending, ending_count, queued = {}, 0, {}
end

-- Exact arithmetic on strings of digits, in minor units. An amount and a balance have at most 28
-- digits; what has come and gone of an account in its whole life may have 36. Lua counts in doubles,
-- which are exact only to 2^53, so a number is three limbs: `(top * LIMB + mid) * LIMB + low`.
local LIMB = 100000000000000
local MAX_DIGITS = 28
local MAX_TOTAL_DIGITS = 36

local function limbs(digits)
  if #digits <= 14 then
    return 0, 0, tonumber(digits)
  end
  if #digits <= 28 then
    return 0, tonumber(digits:sub(1, -15)), tonumber(digits:sub(-14))
  end
  return tonumber(digits:sub(1, -29)), tonumber(digits:sub(-28, -15)), tonumber(digits:sub(-14))
end

-- The same number with `0 <= low < LIMB` and `0 <= mid < LIMB`.
local function carried(top, mid, low)
  local carry = math.floor(low / LIMB)
  mid, low = mid + carry, low - carry * LIMB
  carry = math.floor(mid / LIMB)
  return top + carry, mid - carry * LIMB, low
end

-- a + b - c - d - e, as limbs: it is below zero exactly where `top` is.
local function net(a, b, c, d, e)
  if #a < 15 and #b < 15 and #c < 15 and #d < 15 and #e < 15 then
    local low = a + b - c - d - e
    if low >= 0 and low < LIMB then
      return 0, 0, low
    end
    return carried(0, 0, low)
  end
  local a2, a1, a0 = limbs(a)
  local b2, b1, b0 = limbs(b)
  local c2, c1, c0 = limbs(c)
  local d2, d1, d0 = limbs(d)
  local e2, e1, e0 = limbs(e)
  return carried(a2 + b2 - c2 - d2 - e2, a1 + b1 - c1 - d1 - e1, a0 + b0 - c0 - d0 - e0)
end

-- The digits of a number that is not below zero.
local function digits_of(top, mid, low)
  if top > 0 then
    return ('%d%014d%014d'):format(top, mid, low)
  end
  if mid > 0 then
    return ('%d%014d'):format(mid, low)
  end
  return ('%d'):format(low)
end

-- a + b, or nil where that has more digits than even a total may have.
local function plus(a, b)
  if #a < 15 and #b < 15 then
    return ('%d'):format(a + b)
  end
  local digits = digits_of(net(a, b, '0', '0', '0'))
  if #digits > MAX_TOTAL_DIGITS then
    return nil
  end
  return digits
end

-- a - b, where that is known not to be below zero.
local function minus(a, b)
  return digits_of(net(a, '0', b, '0', '0'))
end

-- The digits of the sum of a list.
local function total(amounts)
  local top, mid, low = 0, 0, 0
  for i = 1, #amounts do
    local more_top, more_mid, more_low = limbs(amounts[i])
    top, mid, low = carried(top + more_top, mid + more_mid, low + more_low)
  end
  return digits_of(top, mid, low)
end

-- Digits as people write them: `decimal('1234', 2)` is 12.34.
local function decimal(digits, scale)
  if scale == 0 then
    return digits
  end
  if #digits <= scale then
    digits = ('0'):rep(scale + 1 - #digits) .. digits
  end
  return digits:sub(1, -scale - 1) .. '.' .. digits:sub(-scale)
end

-- The same for what `net` answers, which may be below zero.
local function signed_decimal(scale, top, mid, low)
  if top >= 0 then
    return decimal(digits_of(top, mid, low), scale)
  end
  return '-' .. decimal(digits_of(carried(-top, -mid, -low)), scale)
end

-- The same for a - b, which is every balance: two short numbers need no limbs.
local function signed_difference(scale, a, b)
  if #a < 15 and #b < 15 then
    local low = a - b
    if low >= 0 then
      return decimal(('%d'):format(low), scale)
    end
  end
  return signed_decimal(scale, net(a, '0', b, '0', '0'))
end
-- So many ended holds are taken back in one go; it takes a millisecond or two.
local DUE_AT_ONCE = 1000
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
--- @include "lib/product"

-- What is told about a product.
local REST = '^"initial":%d+,.-"price":"(%d+)","currency":"(%w+)","scale":(%d+),"created_at":(%d+),'
  .. '"name":(".*"),"description":(.*),"metadata":({.*})$'

local function product_json(product_id, it)
  local price, currency, scale, created_at, name, description, metadata = it.rest:match(REST)
  if not price then
    broken(product_id, 'a product')
  end
  local function limit(number)
    return number == 0 and 'null' or ('%d'):format(number)
  end
  return ('{"product_id":"%s","on_hand":%d,"reserved":%d,"available":%d,"sold":%d,"low_stock":%s,"max_per_customer":%s,"version":%d,'):format(
    product_id, it.on_hand, it.reserved, it.on_hand - it.reserved, it.sold, limit(it.low_stock), limit(it.max_per_customer), it.version
  ) .. '"price":"' .. decimal(price, tonumber(scale)) .. '","currency":"' .. currency .. '","created_at":' .. created_at
    .. ',"name":' .. name .. ',"description":' .. description .. ',"metadata":' .. metadata .. '}'
end

local operations, records = {}, {}
operations['inventory/add_product'] = function(keys, args)
--[[
Add a product with its initial stock.

KEYS
  product_key         product
  holds_key           sorted set of holds
  log_key             log of movements
  index_key           sorted set of the space's product ids

ARGV
  product_id          id
  name                JSON, a string
  description         JSON, a string or null
  price               minor units
  currency            code
  scale               decimals of the currency
  initial_stock       units
  low_stock           units, 0 for no limit
  max_per_customer    units, 0 for no limit
  metadata            JSON, an object of strings

REPLY
  ok                  product:json
  product_exists      product_id
]]
--- @include "lib/product_json"

local product_key, holds_key, log_key, index_key = unpack(keys)
local product_id, name, description, price, currency, scale, initial_stock, low_stock, max_per_customer, metadata = unpack(args)

if product(product_key, holds_key, log_key) then
  return { 'product_exists', product_id }
end
-- A look at the index tells now, before anything is written, that it is one.
redis.call('ZSCORE', index_key, product_id)
local it = {
  on_hand = tonumber(initial_stock),
  reserved = 0,
  sold = 0,
  next_due = 0,
  movements = 0,
  version = 1,
  low_stock = tonumber(low_stock),
  low = tonumber(initial_stock) < tonumber(low_stock),
  max_per_customer = tonumber(max_per_customer),
  rest = '"initial":' .. initial_stock .. ',"received":0,"returned":0,"damaged":0,"lost":0,"counted":0,"other":0,'
    .. '"price":"' .. price .. '","currency":"' .. currency .. '","scale":' .. scale .. ',"created_at":' .. now
    .. ',"name":' .. name .. ',"description":' .. description .. ',"metadata":' .. metadata,
  ended = {},
  written = 0,
  holds_key = holds_key,
  log_key = log_key,
}
live[product_key] = it
write_product(product_key, it)
movement(it, 'initial', it.on_hand, 0, 0, 'null', 'null', now)
queued[#queued + 1] = { 'ZADD', index_key, 0, product_id }

return { 'ok', product_json(product_id, it) }

end
records['inventory/add_product'] = { 1, }

-- Only the keys of records are looked up: most of the others exist, and to find a log is not cheap.
local wanted, wanted_count = {}, 0
local key, arg = 0, 4
while arg < #ARGV do
  local where, key_count = records[ARGV[arg + 1]], tonumber(ARGV[arg + 2])
  for i = 1, where and #where or key_count do
    wanted_count = wanted_count + 1
    wanted[wanted_count] = KEYS[key + (where and where[i] or i)]
  end
  if where and where.line then
    for before = where.once, key_count - 1, where.line do
      for i = 1, #where.each do
        wanted_count = wanted_count + 1
        wanted[wanted_count] = KEYS[key + before + where.each[i]]
      end
    end
  end
  key = key + key_count
  if ARGV[arg + 4] ~= '' then
    key, wanted_count = key + 1, wanted_count + 1
    wanted[wanted_count] = KEYS[key]
  end
  arg = arg + 4 + ARGV[arg + 3]
end
if wanted_count > 0 then
  local texts = redis.call('MGET', unpack(wanted))
  for i = 1, wanted_count do
    loaded[wanted[i]] = texts[i]
  end
end

local function encode_once(_, text)
  return text, once_ttl_ms
end

-- Runs the operation, or answers what it answered when this idempotency key was first seen.
local function run_once(once_key, fingerprint, operation, keys, args)
  local record = live[once_key] or stored(once_key)
  if record then
    if record:sub(1, 40) ~= fingerprint then
      return 0, { 'idempotency_key_reused' }
    end
    local reply = cjson.decode(record:sub(41))
    if type(reply) ~= 'table' or type(reply[1]) ~= 'string' then
      broken(once_key, 'an answer')
    end
    -- The record must outlive this repeat, and a WAIT that follows must cover it.
    queued[#queued + 1] = { 'PEXPIRE', once_key, once_ttl_ms }
    return 1, reply
  end
  local reply = operation(keys, args)
  if not reply.forget then
    live[once_key] = fingerprint .. cjson.encode(reply)
    change(once_key, encode_once)
  end
  return 0, reply
end

local answers, answer_count = {}, 0
key, arg = 0, 4
while arg < #ARGV do
  local operation = operations[ARGV[arg + 1]]
  local key_count, arg_count, fingerprint = ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4]
  local keys = { unpack(KEYS, key + 1, key + key_count) }
  local args = { unpack(ARGV, arg + 5, arg + 4 + arg_count) }
  key, arg = key + key_count, arg + 4 + arg_count
  alone = answer_count == 0 and arg == #ARGV

  local replayed, reply = 0, nil
  if fingerprint == '' then
    reply = operation(keys, args)
  else
    key = key + 1
    replayed, reply = run_once(KEYS[key], fingerprint, operation, keys, args)
  end
  answers[answer_count + 1], answers[answer_count + 2] = replayed, reply
  answer_count = answer_count + 2
end

-- Commit. Every text is ready before the first write, and the writes that can fail come first.
local lasting, lasting_count = {}, 0
for i = 1, changed_count do
  local record_key = changed[i]
  local text, ttl_ms = encoders[record_key](record_key, live[record_key])
  if ttl_ms then
    create(record_key, text, ttl_ms)
  elseif text then
    lasting[lasting_count + 1], lasting[lasting_count + 2] = record_key, text
    lasting_count = lasting_count + 2
  end
end
for i = 1, log_count do
  local log = log_order[i]
  local length = redis.pcall('RPUSH', log, unpack(logs[log]))
  if type(length) == 'table' then
    -- It is no list: the logs before it lose again what they have just been given.
    for j = 1, i - 1 do
      redis.call('RPOP', log_order[j], #logs[log_order[j]])
    end
    broken(log, 'a log')
  end
  if length > history + 256 then
    -- Trimming many entries at once, not every append pays for it.
    queued[#queued + 1] = { 'LTRIM', log, -history, -1 }
  end
end
for i = 1, #queued do
  redis.call(unpack(queued[i]))
end
if lasting_count > 0 then
  redis.call('MSET', unpack(lasting))
end
for i = 1, ending_count, 3 do
  redis.call('SET', ending[i], ending[i + 1], 'PX', ending[i + 2])
end
return answers
