-- Exact arithmetic on strings of digits, in minor units. An amount and a balance have at most 28 digits; the
-- sum of all credits or debits of an account may have 36. Lua counts in doubles, which are exact to 2^53, so
-- a number is three limbs: `(top * LIMB + mid) * LIMB + low`.
--- @export MAX_DIGITS, MAX_TOTAL_DIGITS, net, digits_of, plus, minus, total, decimal, signed_decimal, signed_difference

local LIMB = 100000000000000
MAX_DIGITS = 28
MAX_TOTAL_DIGITS = 36

local function limbs(digits)
  if #digits <= 14 then
    return 0, 0, tonumber(digits)
  end
  if #digits <= 28 then
    return 0, tonumber(digits:sub(1, -15)), tonumber(digits:sub(-14))
  end
  return tonumber(digits:sub(1, -29)), tonumber(digits:sub(-28, -15)), tonumber(digits:sub(-14))
end

-- Returns the same number with `0 <= low < LIMB` and `0 <= mid < LIMB`.
local function carried(top, mid, low)
  local carry = math.floor(low / LIMB)
  mid, low = mid + carry, low - carry * LIMB
  carry = math.floor(mid / LIMB)
  return top + carry, mid - carry * LIMB, low
end

-- Returns a + b - c - d - e as limbs. It is below zero exactly where `top` is.
function net(a, b, c, d, e)
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

-- Returns the digits of a number that is not below zero.
function digits_of(top, mid, low)
  if top > 0 then
    return ('%d%014d%014d'):format(top, mid, low)
  end
  if mid > 0 then
    return ('%d%014d'):format(mid, low)
  end
  return ('%d'):format(low)
end

-- Returns a + b, or nil where the sum has more digits than a total may have.
function plus(a, b)
  if #a < 15 and #b < 15 then
    return ('%d'):format(a + b)
  end
  local digits = digits_of(net(a, b, '0', '0', '0'))
  if #digits > MAX_TOTAL_DIGITS then
    return nil
  end
  return digits
end

-- Returns a - b. The caller knows that it is not below zero.
function minus(a, b)
  return digits_of(net(a, '0', b, '0', '0'))
end

-- Returns the digits of the sum of a list.
function total(amounts)
  local top, mid, low = 0, 0, 0
  for i = 1, #amounts do
    local more_top, more_mid, more_low = limbs(amounts[i])
    top, mid, low = carried(top + more_top, mid + more_mid, low + more_low)
  end
  return digits_of(top, mid, low)
end

-- Returns minor units as a decimal: `decimal('1234', 2)` is 12.34.
function decimal(digits, scale)
  if scale == 0 then
    return digits
  end
  if #digits <= scale then
    digits = ('0'):rep(scale + 1 - #digits) .. digits
  end
  return digits:sub(1, -scale - 1) .. '.' .. digits:sub(-scale)
end

-- Returns the limbs that `net` gives as a decimal, with a minus below zero.
function signed_decimal(scale, top, mid, low)
  if top >= 0 then
    return decimal(digits_of(top, mid, low), scale)
  end
  return '-' .. decimal(digits_of(carried(-top, -mid, -low)), scale)
end

-- Returns a - b as a decimal, which every balance is. Two short numbers need no limbs.
function signed_difference(scale, a, b)
  if #a < 15 and #b < 15 then
    local low = a - b
    if low >= 0 then
      return decimal(('%d'):format(low), scale)
    end
  end
  return signed_decimal(scale, net(a, '0', b, '0', '0'))
end
