-- Exact arithmetic on amounts in minor units. An amount and a balance have at most 28 digits; the sum of all
-- credits or debits of an account may have 36. Lua counts in doubles, so an amount below 10^15 is a number (the
-- sum of five of them is exact) and any other a string of digits, which is counted in three limbs:
-- `(top * LIMB + mid) * LIMB + low`.
--- @export MAX_DIGITS, SMALL, amount_of, digits_of, sign_of_net, net, plus, minus, total, decimal, signed_decimal, signed_difference

local LIMB = 100000000000000
MAX_DIGITS = 28
local MAX_TOTAL_DIGITS = 36
SMALL = 1000000000000000

-- Returns the amount that a string of digits stands for.
function amount_of(digits)
  return #digits <= 15 and digits + 0 or digits
end

-- Returns the digits of an amount, which is not below zero.
function digits_of(amount)
  return type(amount) == 'string' and amount or ('%d'):format(amount)
end

--- @lazy
local function limbs(amount)
  if type(amount) == 'number' then
    local mid = math.floor(amount / LIMB)
    return 0, mid, amount - mid * LIMB
  end
  if #amount <= 28 then
    return 0, tonumber(amount:sub(1, -15)), tonumber(amount:sub(-14))
  end
  return tonumber(amount:sub(1, -29)), tonumber(amount:sub(-28, -15)), tonumber(amount:sub(-14))
end

-- Returns the same limbs with `0 <= low < LIMB` and `0 <= mid < LIMB`.
--- @lazy
local function carried(top, mid, low)
  local carry = math.floor(low / LIMB)
  mid, low = mid + carry, low - carry * LIMB
  carry = math.floor(mid / LIMB)
  return top + carry, mid - carry * LIMB, low
end

--- @lazy
local function wide_net(a, b, c, d, e)
  local a2, a1, a0 = limbs(a)
  local b2, b1, b0 = limbs(b)
  local c2, c1, c0 = limbs(c)
  local d2, d1, d0 = limbs(d)
  local e2, e1, e0 = limbs(e)
  return carried(a2 + b2 - c2 - d2 - e2, a1 + b1 - c1 - d1 - e1, a0 + b0 - c0 - d0 - e0)
end

-- Returns carried limbs that are not below zero as an amount.
--- @lazy
local function from_limbs(top, mid, low)
  if top > 0 then
    return ('%d%014d%014d'):format(top, mid, low)
  end
  if mid >= 10 then
    return ('%d%014d'):format(mid, low)
  end
  return mid * LIMB + low
end

-- Returns a number with the sign of a + b - c - d - e. None of them is below zero, so each is small if their
-- sum is: a string of digits counts as the number nearest to it.
function sign_of_net(a, b, c, d, e)
  if a + b + c + d + e < SMALL then
    return a + b - c - d - e
  end
  local top, mid, low = wide_net(a, b, c, d, e)
  return top ~= 0 and top or mid ~= 0 and mid or low
end

-- Returns a + b - c - d - e as an amount and, where it is below zero, its opposite and true.
function net(a, b, c, d, e)
  if a + b + c + d + e < SMALL then
    local result = a + b - c - d - e
    if result < 0 then
      return -result, true
    end
    return result, false
  end
  local top, mid, low = wide_net(a, b, c, d, e)
  if top < 0 then
    return from_limbs(carried(-top, -mid, -low)), true
  end
  return from_limbs(top, mid, low), false
end

-- Returns a + b, or nil where the sum has more digits than a total may have.
function plus(a, b)
  if a + b < SMALL then
    return a + b
  end
  local sum = from_limbs(wide_net(a, b, 0, 0, 0))
  if type(sum) == 'string' and #sum > MAX_TOTAL_DIGITS then
    return nil
  end
  return sum
end

-- Returns a - b. The caller knows that it is not below zero.
function minus(a, b)
  if a + b < SMALL then
    return a - b
  end
  return (net(a, 0, b, 0, 0))
end

-- Returns the sum of a list of amounts, which may have any number of digits.
--- @lazy
function total(amounts)
  local top, mid, low = 0, 0, 0
  for i = 1, #amounts do
    local more_top, more_mid, more_low = limbs(amounts[i])
    top, mid, low = carried(top + more_top, mid + more_mid, low + more_low)
  end
  return from_limbs(top, mid, low)
end

-- Returns an amount as a decimal: `decimal(1234, 2)` is 12.34. `is_negative` puts a minus before it.
function decimal(amount, scale, is_negative)
  local digits = type(amount) == 'string' and amount or ('%d'):format(amount)
  local sign = is_negative and '-' or ''
  if scale == 0 then
    return sign .. digits
  end
  if #digits <= scale then
    digits = ('0'):rep(scale + 1 - #digits) .. digits
  end
  return sign .. digits:sub(1, -scale - 1) .. '.' .. digits:sub(-scale)
end

-- Returns a signed amount as a decimal: a number, or digits that may have a minus before them.
function signed_decimal(amount, scale)
  if type(amount) == 'number' then
    return decimal(math.abs(amount), scale, amount < 0)
  end
  local digits = amount:match('^-(%d+)$')
  return decimal(digits or amount, scale, digits ~= nil)
end

-- Returns a - b as a decimal, which every balance is.
function signed_difference(scale, a, b)
  local difference, is_negative = net(a, 0, b, 0, 0)
  return decimal(difference, scale, is_negative)
end
