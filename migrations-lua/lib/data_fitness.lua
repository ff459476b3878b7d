--- @include "lib/integer64"

-- The type of value that a command is for; the others take any.
local NEEDED = {
  GET = 'string', INCRBY = 'string', DECRBY = 'string', HSET = 'hash', HGET = 'hash',
  LPUSH = 'list', RPUSH = 'list', SADD = 'set', ZADD = 'zset',
}
local TYPES = { string = 'a string', hash = 'a hash', list = 'a list', set = 'a set', zset = 'a sorted set' }

-- Why a command would fail on what a key holds when its turn comes, or nil where it would not. `it` is
-- that: its type, and the number in it where one has been counted or the text where one has been set.
local function unfit(key, it, word, argument)
  local needed = NEEDED[word]
  if needed and it.type ~= 'none' and it.type ~= needed then
    return TYPES[it.type] or it.type, TYPES[needed]
  end
  if word == 'SET' then
    it.type, it.text, it.number = 'string', argument, nil
  elseif word == 'DEL' then
    it.type, it.text, it.number, it.changed = 'none', nil, nil, true
  elseif word == 'INCRBY' or word == 'DECRBY' then
    local text = it.text or it.type == 'string' and not it.number and redis.call('GET', key) or '0'
    local number = it.number or integer64(text)
    local sum = number and sum64(number, integer64(argument), word == 'INCRBY' and 1 or -1)
    if not sum then
      return number and 'a number near the end of 64 bits' or 'a string that is no whole number',
        'a number that stays within 64 bits'
    end
    it.type, it.text, it.number = 'string', nil, sum
  elseif needed and word ~= 'GET' and word ~= 'HGET' then
    it.type, it.changed = needed, true
  end
end

-- How many bytes a command reads; of what the commands before it have written, which the call has
-- brought along itself, only what is known.
local function bytes_read(key, it, word, field)
  if word == 'GET' and it.type == 'string' then
    return it.text and #it.text or it.number and 0 or redis.call('STRLEN', key)
  elseif word == 'HGET' and it.type == 'hash' and not it.changed then
    return redis.call('HSTRLEN', key, field)
  end
  return 0
end

-- The refusal of the first of the commands, as `run_all_data` takes them, that would fail when its turn
-- comes, or that reads more than all may read; nil where none would. So that none fails half way: those
-- before it would have happened.
local function unfit_command(keys, args, arg, budget)
  local held, read = {}, 0
  for i = 1, #keys do
    local key, word, count = keys[i], args[arg], args[arg + 1]
    held[key] = held[key] or { type = redis.call('TYPE', key).ok }
    local actual, needed = unfit(key, held[key], word, args[arg + 2])
    if actual then
      return { 'wrong_type', key:match('}:(.*)$'), actual, needed, i - 1 }
    end
    read = read + bytes_read(key, held[key], word, args[arg + 2])
    if read > budget then
      return { 'result_too_large', budget }
    end
    arg = arg + 2 + count
  end
end
