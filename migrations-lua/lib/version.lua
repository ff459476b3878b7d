-- Why a thing is not the one that the caller has read, or nil where it is. `expected` is the
-- versions that will do, with a blank between them, or nothing where any will.
local function another_version(it, expected)
  if expected ~= '' and not (' ' .. expected .. ' '):find(' ' .. it.version .. ' ', 1, true) then
    return { 'version_mismatch', it.version, expected }
  end
end
