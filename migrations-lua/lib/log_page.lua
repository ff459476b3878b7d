--- @export log_page

-- Returns up to `limit` entries of a log up to number `newest`, and the number of the last of them. Entries
-- are numbered from 1; `written` is the number of the newest that was ever written. Counted from the end of
-- the log a number stays where it is, while newer entries arrive and the oldest are trimmed.
function log_page(log, written, newest, limit)
  newest = newest == '' and written or math.min(tonumber(newest), written)
  local last = newest - written - 1
  return redis.call('LRANGE', log, last - limit + 1, last), newest
end
