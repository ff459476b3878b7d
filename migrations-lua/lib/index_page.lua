--- @export ids_after, ids_before

-- Returns up to `count` ids of an index, a sorted set of ids, that come after `after`; from the first one
-- where `after` is empty.
function ids_after(index_key, after, count)
  local start = after == '' and '-' or '(' .. after
  return redis.call('ZRANGEBYLEX', index_key, start, '+', 'LIMIT', 0, count)
end

-- The same backwards: ids that come before `before`, from the last one where it is empty.
function ids_before(index_key, before, count)
  local start = before == '' and '+' or '(' .. before
  return redis.call('ZREVRANGEBYLEX', index_key, start, '-', 'LIMIT', 0, count)
end
