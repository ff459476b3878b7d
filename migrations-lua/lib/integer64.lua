-- A number of 64 bits as billions and what is left of them, 0 or above, which doubles count exactly;
-- or nil where a text is none, as Redis sees it: plainly written, without a needless zero or sign.
local BILLION = 1000000000

local function within_64_bits(billions, rest)
  return (billions < 9223372036 or billions == 9223372036 and rest <= 854775807)
    and (billions > -9223372037 or billions == -9223372037 and rest >= 145224192)
end

local function integer64(text)
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

-- One and `sign` times the other, or nil where that has more than 64 bits.
local function sum64(one, other, sign)
  local billions, rest = one[1] + sign * other[1], one[2] + sign * other[2]
  local carry = math.floor(rest / BILLION)
  billions, rest = billions + carry, rest - carry * BILLION
  if within_64_bits(billions, rest) then
    return { billions, rest }
  end
end
