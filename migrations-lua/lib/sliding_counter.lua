--- @export sliding_counter

-- A sliding counter adds up the units of each sub-bucket of time. A sub-bucket counts while any instant of it
-- lies in the window, so what is admitted in any window never exceeds the limit. The record has the instant of
-- the last take, the length of a sub-bucket, the units of all sub-buckets that still count, and then
-- each with its number since 1970 and its units, the oldest first.
local LAYOUT = '<Bddd'
local PAIR = '<dd'
local CODE = 3
local HEAD_LENGTH, PAIR_LENGTH = 25, 16
local MAX_SAFE_INTEGER = 9007199254740991

-- Returns the functions of this algorithm: open, free, wait, take, give_back. `lib/limit.lua` says what they do.
function sliding_counter()
  -- Returns the instant at which a sub-bucket no longer counts: its last millisecond has left the window.
  local function leaves_at(counter, number)
    return (number + 1) * counter.width - 1 + counter.length
  end

  local function encode(_, counter)
    local last = struct.unpack(PAIR, counter.pairs, #counter.pairs - PAIR_LENGTH + 1)
    return struct.pack(LAYOUT, CODE, counter.at, counter.width, counter.used) .. counter.pairs,
      math.max(leaves_at(counter, last) - now, 1), true
  end

  local function encode_without_units(_, counter)
    return struct.pack(LAYOUT, CODE, counter.at, counter.width, 0), counter.length, true
  end

  local function decode(key, text)
    local at, width, used, _ = -1, 0, -1, nil
    if #text >= HEAD_LENGTH and (#text - HEAD_LENGTH) % PAIR_LENGTH == 0 then
      _, at, width, used = struct.unpack(LAYOUT, text)
    end
    -- A number that is none fails every comparison.
    local is_counter = at >= 0 and at <= MAX_SAFE_INTEGER and width >= 1 and width <= MAX_SAFE_INTEGER and used >= 0
      and used <= MAX_SAFE_INTEGER
    if not is_counter then
      fail_corrupt(key, 'a sliding counter')
    end
    return { at = at, width = width, used = used, pairs = text:sub(HEAD_LENGTH + 1) }
  end

  local function open(counter, rule)
    local width = rule.b
    counter.at = math.max(counter.at or now, now)
    counter.length, counter.limit = rule.a, rule.limit
    if not counter.pairs then
      counter.pairs, counter.used, counter.width = '', 0, width
    elseif counter.width ~= width then
      -- The rule has changed: what still counts counts as taken at the last instant of the old sub-bucket.
      local pairs_of_width, old = {}, counter.pairs
      for i = 1, #old, PAIR_LENGTH do
        local number, units = struct.unpack(PAIR, old, i)
        local moved = math.floor(((number + 1) * counter.width - 1) / width)
        pairs_of_width[#pairs_of_width + 1] = struct.pack(PAIR, moved, units)
      end
      counter.pairs, counter.width = table.concat(pairs_of_width), width
    end
    local gone = 1
    while gone <= #counter.pairs do
      local number, units = struct.unpack(PAIR, counter.pairs, gone)
      if leaves_at(counter, number) > counter.at then
        break
      end
      counter.used = counter.used - units
      gone = gone + PAIR_LENGTH
    end
    if gone > 1 then
      counter.pairs = counter.pairs:sub(gone)
    end
  end

  local function free(counter)
    return counter.limit - counter.used - counter.pending
  end

  local function wait(counter, cost)
    local excess = counter.used + counter.pending + cost - counter.limit
    local i, number = 1, nil
    while excess > 0 and i <= #counter.pairs do
      local units
      number, units = struct.unpack(PAIR, counter.pairs, i)
      excess, i = excess - units, i + PAIR_LENGTH
    end
    return number and leaves_at(counter, number) - counter.at or 0
  end

  local function take(counter, cost)
    local number, last, units = math.floor(counter.at / counter.width), nil, 0
    local before = #counter.pairs - PAIR_LENGTH
    if before >= 0 then
      last, units = struct.unpack(PAIR, counter.pairs, before + 1)
    end
    -- A sub-bucket of an earlier rule can lie ahead, and counts longer.
    if last and last >= number then
      counter.pairs = counter.pairs:sub(1, before) .. struct.pack(PAIR, last, units + cost)
    else
      counter.pairs = counter.pairs .. struct.pack(PAIR, number, cost)
    end
    counter.used = counter.used + cost
    return encode
  end

  -- The newest units are given back first: they would have counted longest.
  local function give_back(counter, cost)
    local returned = math.min(cost, counter.used)
    local left = returned
    while left > 0 do
      local before = #counter.pairs - PAIR_LENGTH
      local number, units = struct.unpack(PAIR, counter.pairs, before + 1)
      local given = math.min(left, units)
      local rest = units > given and struct.pack(PAIR, number, units - given) or ''
      counter.pairs, left = counter.pairs:sub(1, before) .. rest, left - given
    end
    counter.used = counter.used - returned
    return returned, counter.pairs == '' and encode_without_units or encode
  end

  return { name = 'sliding_counter', decode = decode, open = open, free = free, wait = wait, take = take, give_back = give_back }
end
