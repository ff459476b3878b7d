-- Numbers of 64 bits as pairs of doubles: billions, and the rest below a billion, which is never negative.
--- @export integer64, sum64

local BILLION = 1000000000

local function within_64_bits(billions, rest)
  return (billions < 9223372036 or billions == 9223372036 and rest <= 854775807)
    and (billions > -9223372037 or billions == -9223372037 and rest >= 145224192)
end

-- Returns a text as such a pair, or nil where Redis would not take it for a number: it is written plainly,
-- without a needless zero or sign.
function integer64(text)
  local sign, digits = text:match('^(-?)(%d+)$')
  if not digits or #digits > 19 or digits:sub(1, 1) == '0' and text ~= '0' then
    return nil
  end
  local billions, rest = tonumber(digits:sub(1, -10)) or 0, tonumber(digits:sub(-9))
  if sign == '-' then
    billions, rest = -billions - (rest > 0 and 1 or 0), rest > 0 and BILLION - rest or 0
  end
  if within_64_bits(billions, rest) then
    return { billions, rest }
  end
end

-- Returns one + sign * other, or nil where the sum needs more than 64 bits.
function sum64(one, other, sign)
  local billions, rest = one[1] + sign * other[1], one[2] + sign * other[2]
  local carry = math.floor(rest / BILLION)
  billions, rest = billions + carry, rest - carry * BILLION
  if within_64_bits(billions, rest) then
    return { billions, rest }
  end
end
