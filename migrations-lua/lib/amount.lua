-- Exact arithmetic on amounts of up to 28 digits. Lua counts in doubles, which are exact only to 2^53,
-- so a number is two limbs: `high * 10^14 + low`. Amounts come and go as strings of digits, in minor units.
local LIMB = 100000000000000
local MAX_DIGITS = 28

local function limbs(digits)
  if #digits <= 14 then
    return 0, tonumber(digits)
  end
  return tonumber(digits:sub(1, -15)), tonumber(digits:sub(-14))
end

-- a + b - c - d - e, with `0 <= low < 10^14`: it is below zero exactly where `high` is.
local function net(a, b, c, d, e)
  if #a < 15 and #b < 15 and #c < 15 and #d < 15 and #e < 15 then
    local low = a + b - c - d - e
    if low >= 0 and low < LIMB then
      return 0, low
    end
    local carry = math.floor(low / LIMB)
    return carry, low - carry * LIMB
  end
  local a1, a0 = limbs(a)
  local b1, b0 = limbs(b)
  local c1, c0 = limbs(c)
  local d1, d0 = limbs(d)
  local e1, e0 = limbs(e)
  local low = a0 + b0 - c0 - d0 - e0
  local carry = math.floor(low / LIMB)
  return a1 + b1 - c1 - d1 - e1 + carry, low - carry * LIMB
end

-- The digits of a number that is not below zero.
local function digits_of(high, low)
  if high == 0 then
    return ('%d'):format(low)
  end
  return ('%d%014d'):format(high, low)
end

-- a + b, or nil where that has more than 28 digits.
local function plus(a, b)
  if #a < 15 and #b < 15 then
    return ('%d'):format(a + b)
  end
  local digits = digits_of(net(a, b, '0', '0', '0'))
  if #digits > MAX_DIGITS then
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
  local high, low = 0, 0
  for i = 1, #amounts do
    local more_high, more_low = limbs(amounts[i])
    high, low = high + more_high, low + more_low
    if low >= LIMB then
      high, low = high + 1, low - LIMB
    end
  end
  return digits_of(high, low)
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
local function signed_decimal(high, low, scale)
  if high >= 0 then
    return decimal(digits_of(high, low), scale)
  end
  if low > 0 then
    high, low = high + 1, LIMB - low
  end
  return '-' .. decimal(digits_of(-high, low), scale)
end
