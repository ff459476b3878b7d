-- Reading on past what is damaged: a list leaves it out, and a check names it.
--- @export unless_damaged

-- Patterns of the errors that mean damage: one of `fail_corrupt`, one of a key of another type, two of `struct.unpack`.
local DAMAGE = { ' does not hold ', '^WRONGTYPE', 'data string too short', 'unfinished string in data' }

local function is_damage(message)
  for i = 1, #DAMAGE do
    if message:find(DAMAGE[i]) then
      return true
    end
  end
  return false
end

-- Returns the first three results of `read(...)`, or nil and `unreadable` where a key that it reads holds
-- something that is not ours, or not all that it should. Any other failure stays one, a fault of a script too.
function unless_damaged(read, ...)
  local succeeded, first, second, third = pcall(read, ...)
  if succeeded then
    return first, second, third
  end
  if not is_damage(type(first) == 'string' and first or first.err or '') then
    error(first, 0)
  end
  return nil, 'unreadable'
end
