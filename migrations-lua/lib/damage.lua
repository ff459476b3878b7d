-- Reading on past what is damaged: a list leaves it out, and a check names it.
--- @export unless_damaged

-- Returns the first three results of `read(...)`, or nil and `unreadable` where a key that it reads holds
-- something that is not ours, or not all that it should. Any other failure stays one.
function unless_damaged(read, ...)
  local succeeded, first, second, third = pcall(read, ...)
  if succeeded then
    return first, second, third
  end
  local is_damage = type(first) == 'string' or (first.err or ''):find('^WRONGTYPE')
  if not is_damage then
    error(first, 0)
  end
  return nil, 'unreadable'
end
