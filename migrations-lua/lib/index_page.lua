--- @export ids_after, ids_before

-- Returns up to `count` ids of an index, a sorted set of ids, that come after `after`; from the first one
-- where `after` is empty.
function ids_after(index_key, after, count)
  local start = after == '' and '-' or '(' .. after
  return redis.call('ZRANGEBYLEX', index_key, start, '+', 'LIMIT', 0, count)
end

-- Returns up to `count` ids of a sorted set that come before `before` by their scores, the nearest first; from
-- the last one where `before` is empty. Of an id that has been trimmed, everything before it has been too.
function ids_before(set_key, before, count)
  if before == '' then
    return redis.call('ZRANGE', set_key, 0, count - 1, 'REV')
  end
  local rank, ids = redis.call('ZRANK', set_key, before) or 0, {}
  if rank > 0 then
    local found = redis.call('ZRANGE', set_key, math.max(rank - count, 0), rank - 1)
    for i = #found, 1, -1 do
      ids[#ids + 1] = found[i]
    end
  end
  return ids
end
