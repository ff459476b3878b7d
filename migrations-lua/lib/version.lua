--- @export check_version

-- Refuses a record whose version is not one of those that the caller has read, and returns nil where it is.
-- `expected` has the versions with a blank between them, or nothing where any version will do.
function check_version(record, expected)
  if expected ~= '' and not (' ' .. expected .. ' '):find(' ' .. record.version .. ' ', 1, true) then
    return { 'version_mismatch', record.version, expected }
  end
end
