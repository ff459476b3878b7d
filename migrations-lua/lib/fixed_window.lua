--- @export fixed_window

-- A fixed window begins at a multiple of its length since 1970. The record has the instant of the last take,
-- the window's beginning, and the units taken in it.
local LAYOUT = '<Bddd'
local CODE = 4
local MAX_SAFE_INTEGER = 9007199254740991

-- Returns the functions of this algorithm: open, free, wait, take, give_back. `lib/limit.lua` says what they do.
function fixed_window()
  local function encode(_, window)
    -- For a whole length after the last take: should the clock step back over an edge, that is known.
    return struct.pack(LAYOUT, CODE, window.at, window.begins, window.used), window.at + window.length - now, true
  end

  local function decode(key, text)
    local at, begins, used, _ = -1, -1, -1, nil
    if #text == 25 then
      _, at, begins, used = struct.unpack(LAYOUT, text)
    end
    -- A number that is none fails every comparison.
    local is_window = at >= 0 and at <= MAX_SAFE_INTEGER and begins >= 0 and begins <= at and used >= 0 and used <= MAX_SAFE_INTEGER
    if not is_window then
      fail_corrupt(key, 'a fixed window')
    end
    return { at = at, begins = begins, used = used }
  end

  local function open(window, rule)
    window.at = math.max(window.at or now, now)
    local begins = window.at - math.fmod(window.at, rule.a)
    if begins ~= window.begins then
      window.begins, window.used = begins, 0
    end
    window.length, window.limit = rule.a, rule.limit
  end

  local function free(window)
    return window.limit - window.used - window.pending
  end

  local function wait(window, cost)
    local fits = window.used + window.pending + cost <= window.limit
    return fits and 0 or window.begins + window.length - window.at
  end

  local function take(window, cost)
    window.used = window.used + cost
    return encode
  end

  local function give_back(window, cost)
    local returned = math.min(cost, window.used)
    window.used = window.used - returned
    return returned, encode
  end

  return { name = 'fixed_window', decode = decode, open = open, free = free, wait = wait, take = take, give_back = give_back }
end
