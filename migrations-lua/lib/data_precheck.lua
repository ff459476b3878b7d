--- @include "lib/integer64"
--- @export check_data_commands

-- The check that runs before the commands of a transaction over data keys: Redis undoes nothing, so a command
-- that would fail is found before the first one runs.

-- The type of value that a command needs; the other commands take any.
local NEEDED = {
  GET = 'string', INCRBY = 'string', DECRBY = 'string', HSET = 'hash', HGET = 'hash',
  LPUSH = 'list', RPUSH = 'list', SADD = 'set', ZADD = 'zset',
}
local TYPES = { string = 'a string', hash = 'a hash', list = 'a list', set = 'a set', zset = 'a sorted set' }

-- Returns why a command would fail on what its key holds when its turn comes (what the key holds, what is
-- needed), or nil where it would not. `state` is that: its type, and the number in it where one was counted
-- or the text where one was set.
local function unfit(key, state, command, argument)
  local needed = NEEDED[command]
  if needed and state.type ~= 'none' and state.type ~= needed then
    return TYPES[state.type] or state.type, TYPES[needed]
  end
  if command == 'SET' then
    state.type, state.text, state.number = 'string', argument, nil
  elseif command == 'DEL' then
    state.type, state.text, state.number, state.changed = 'none', nil, nil, true
  elseif command == 'INCRBY' or command == 'DECRBY' then
    local text = state.text or state.type == 'string' and not state.number and redis.call('GET', key) or '0'
    local number = state.number or integer64(text)
    local sum = number and sum64(number, integer64(argument), command == 'INCRBY' and 1 or -1)
    if not sum then
      return number and 'a number near the end of 64 bits' or 'a string that is no whole number',
        'a number that stays within 64 bits'
    end
    state.type, state.text, state.number = 'string', nil, sum
  elseif needed and command ~= 'GET' and command ~= 'HGET' then
    state.type, state.changed = needed, true
  end
end

-- Returns how many bytes a command reads. Of what the commands before it write, which the call has brought
-- along itself, only the known part is counted.
local function bytes_read(key, state, command, field)
  if command == 'GET' and state.type == 'string' then
    return state.text and #state.text or state.number and 0 or redis.call('STRLEN', key)
  elseif command == 'HGET' and state.type == 'hash' and not state.changed then
    return redis.call('HSTRLEN', key, field)
  end
  return 0
end

-- Refuses the first of the commands, as `run_data_commands` takes them, that would fail or that reads more
-- than `budget` bytes with those before it; returns nil where none does.
function check_data_commands(arg, budget)
  local states, read = {}, 0
  local position = first_arg + arg
  for i = 1, key_count do
    local key, command, count = KEYS[first_key + i], ARGV[position], tonumber(ARGV[position + 1])
    states[key] = states[key] or { type = redis.call('TYPE', key).ok }
    local actual, needed = unfit(key, states[key], command, ARGV[position + 2])
    if actual then
      return { 'wrong_type', key:match('}:(.*)$'), actual, needed, i - 1 }
    end
    read = read + bytes_read(key, states[key], command, ARGV[position + 2])
    if read > budget then
      return { 'result_too_large', budget }
    end
    position = position + 2 + count
  end
end
