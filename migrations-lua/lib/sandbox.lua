--- @export run_user_chunk

-- Runs callers' own scripts. A script sees Redis only through the functions here, which refuse every key that is no
-- data key of the space, whether the script was given its name, wrote it down, or computed it.

-- Commands by the places of their keys among their arguments. A command that stands in none of these lists
-- is refused: it has no key and reaches beyond the space, or its keys cannot be told by their places.
local READS_FIRST = [[
|GET|STRLEN|GETRANGE|SUBSTR|GETBIT|BITCOUNT|BITPOS|BITFIELD_RO|HGET|HMGET|HGETALL|HKEYS|HVALS|HLEN|HEXISTS|HSTRLEN|HSCAN|
|HRANDFIELD|LLEN|LRANGE|LINDEX|LPOS|SCARD|SISMEMBER|SMISMEMBER|SMEMBERS|SRANDMEMBER|SSCAN|ZCARD|ZCOUNT|ZLEXCOUNT|ZRANGE|
|ZRANGEBYSCORE|ZRANGEBYLEX|ZREVRANGE|ZREVRANGEBYSCORE|ZREVRANGEBYLEX|ZRANK|ZREVRANK|ZSCORE|ZMSCORE|ZSCAN|ZRANDMEMBER|
|TYPE|TTL|PTTL|EXPIRETIME|PEXPIRETIME|DUMP|GEODIST|GEOHASH|GEOPOS|GEOSEARCH|GEORADIUS_RO|GEORADIUSBYMEMBER_RO|XLEN|
|XRANGE|XREVRANGE|XPENDING|HTTL|HPTTL|HEXPIRETIME|HPEXPIRETIME|]]
local WRITES_FIRST = [[
|SET|SETEX|PSETEX|SETNX|GETSET|GETDEL|GETEX|APPEND|SETRANGE|SETBIT|BITFIELD|INCR|INCRBY|INCRBYFLOAT|DECR|DECRBY|HSET|
|HSETNX|HMSET|HDEL|HINCRBY|HINCRBYFLOAT|LPUSH|RPUSH|LPUSHX|RPUSHX|LPOP|RPOP|LSET|LREM|LTRIM|LINSERT|SADD|SREM|SPOP|ZADD|
|ZREM|ZINCRBY|ZPOPMIN|ZPOPMAX|ZREMRANGEBYRANK|ZREMRANGEBYSCORE|ZREMRANGEBYLEX|EXPIRE|PEXPIRE|EXPIREAT|PEXPIREAT|PERSIST|
|PFADD|GEOADD|XADD|XDEL|XTRIM|XACK|XCLAIM|XAUTOCLAIM|XSETID|RESTORE|HEXPIRE|HPEXPIRE|HEXPIREAT|HPEXPIREAT|HPERSIST|]]
local READS_ALL = '|MGET|EXISTS|TOUCH|SINTER|SUNION|SDIFF|PFCOUNT|'
local WRITES_ALL = '|DEL|UNLINK|SINTERSTORE|SUNIONSTORE|SDIFFSTORE|PFMERGE|'
local WRITES_PAIRS = '|MSET|MSETNX|'
local WRITES_TWO = '|RENAME|RENAMENX|SMOVE|RPOPLPUSH|LMOVE|GEOSEARCHSTORE|ZRANGESTORE|'
local READS_COUNTED = '|ZUNION|ZINTER|ZDIFF|ZINTERCARD|SINTERCARD|'
local WRITES_COUNTED = '|LMPOP|ZMPOP|'
local WRITES_STORED = '|ZUNIONSTORE|ZINTERSTORE|ZDIFFSTORE|'
local READS_NONE = '|TIME|PING|ECHO|'

local MAX_COMMANDS = 100000
local MAX_DEPTH = 10
local MAX_VALUES = 100000
local MAX_BYTES = 4194304
local MAX_MESSAGE = 1000

-- Returns the first and the last place of keys among the arguments of a command, the distance between two, true
-- where it may write, and true where the first argument is a key too; nothing for a command that no script may run.
local function places_of_keys(name, ...)
  local word = '|' .. name .. '|'
  if WRITES_FIRST:find(word, 1, true) then
    return 1, 1, 1, true
  elseif READS_FIRST:find(word, 1, true) then
    return 1, 1, 1, false
  elseif WRITES_ALL:find(word, 1, true) then
    return 1, select('#', ...), 1, true
  elseif READS_ALL:find(word, 1, true) then
    return 1, select('#', ...), 1, false
  elseif WRITES_PAIRS:find(word, 1, true) then
    return 1, select('#', ...), 2, true
  elseif WRITES_TWO:find(word, 1, true) then
    return 1, 2, 1, true
  elseif name == 'LCS' then
    return 1, 2, 1, false
  elseif name == 'BITOP' then
    return 2, select('#', ...), 1, true
  elseif name == 'OBJECT' or name == 'XINFO' then
    return 2, 2, 1, false
  elseif name == 'XGROUP' then
    return 2, 2, 1, true
  elseif READS_COUNTED:find(word, 1, true) or WRITES_COUNTED:find(word, 1, true) then
    return 2, 1 + (tonumber((...)) or 0), 1, WRITES_COUNTED:find(word, 1, true) ~= nil
  elseif WRITES_STORED:find(word, 1, true) then
    return 3, 2 + (tonumber((select(2, ...))) or 0), 1, true, true
  elseif READS_NONE:find(word, 1, true) then
    return 1, 0, 1, false
  end
end

-- Returns the kind of an error by its message. Lua and Redis have no codes for most of them.
--- @lazy
local function kind_of(message, is_command, is_user, is_own)
  local function says(text)
    return message:find(text, 1, true)
  end
  if is_own then
    return 'other'
  elseif is_user then
    return 'user'
  elseif says('WRONGTYPE') then
    return 'wrong_type'
  elseif says('access a non local key') or says('do not hash to the same slot') then
    return 'undeclared_key'
  elseif is_command then
    return 'command'
  elseif says('attempt to call') then
    return 'call_nil'
  elseif says('attempt to index') then
    return 'index_nil'
  elseif says('attempt to perform arithmetic') then
    return 'arithmetic'
  elseif says('attempt to compare') then
    return 'compare'
  elseif says('attempt to concatenate') then
    return 'concat'
  end
  return 'other'
end

-- Returns the number of the line in the caller's source that is running, of all the functions that are. Only
-- an error tells where a function stands.
--- @lazy
local function running_line(last_line)
  for level = 3, 40 do
    local _, where = pcall(error, '', level)
    local line = type(where) == 'string' and tonumber(where:match('^user_script:(%d+):'))
    if line and line > 1 and line <= last_line then
      return line - 1
    end
  end
  return false
end

-- Fails where a result is larger than an answer may be, and else returns it with every error reply inside of it
-- as text. A table that contains itself is too deep.
local function checked_result(value, depth, size)
  size.values, size.bytes = size.values + 1, size.bytes + (type(value) == 'string' and #value or 0)
  if size.values > MAX_VALUES or size.bytes > MAX_BYTES or depth > MAX_DEPTH then
    error({ is_own = true, err = 'ERR the result is too large: it has at most ' .. MAX_VALUES .. ' values, ' .. MAX_BYTES
      .. ' bytes and ' .. MAX_DEPTH .. ' levels' })
  end
  if type(value) ~= 'table' then
    return value
  end
  local ok, failure = rawget(value, 'ok'), rawget(value, 'err')
  if type(ok) == 'string' then
    return { ok = ok }
  elseif type(failure) == 'string' then
    return { err = failure }
  end
  local copy, i = {}, 1
  while rawget(value, i) ~= nil do
    copy[i] = checked_result(rawget(value, i), depth + 1, size)
    i = i + 1
  end
  return copy
end

-- True for the errors by which the debugger ends a script. A script that caught one would run on in the debugger's copy
-- of the server, where nothing else ends it.
local function ends_trace(failure)
  local text = type(failure) == 'table' and failure.err or failure
  return type(text) == 'string'
    and (text:find('script aborted for user request', 1, true) or text:find('timeout during Lua debugging', 1, true))
end

-- Returns what a protected call has returned, and fails again where the debugger has ended the script.
local function caught(succeeded, ...)
  if not succeeded and ends_trace((...)) then
    error((...), 0)
  end
  return succeeded, ...
end

local function protected_call(called, ...)
  return caught(pcall(called, ...))
end

local function protected_call_with(called, handler)
  return caught(xpcall(called, function(failure)
    return ends_trace(failure) and failure or handler(failure)
  end))
end

local coroutines = {
  create = coroutine.create, wrap = coroutine.wrap, yield = coroutine.yield, status = coroutine.status,
  running = coroutine.running,
  resume = function(...)
    return caught(coroutine.resume(...))
  end,
}

-- Runs the caller's own source with these keys and arguments. `prefix` is that of the space's data keys, and
-- `last_line` the last line of the source. `written` is called with each key of a command that writes, where it is
-- given. Returns `ok` and the result, or a refusal.
function run_user_chunk(name, prefix, last_line, keys, args, written)
  local raw_redis, commands, forbidden, thrown = redis, 0, nil, nil

  local function check_key(word, key, writes)
    if type(key) ~= 'string' or key:sub(1, #prefix) ~= prefix then
      forbidden = { command = word, key = tostring(key), err = 'ERR a script may touch only data keys of its space' }
      error(forbidden)
    end
    if writes and written then
      written(key)
    end
  end

  local function check(command, ...)
    commands = commands + 1
    local word = type(command) == 'string' and command:upper() or tostring(command)
    local first, last, distance, writes, is_stored = places_of_keys(word, ...)
    if not first then
      error({ err = 'ERR a script may not run the command ' .. word })
    elseif commands > MAX_COMMANDS then
      error({ is_own = true, err = 'ERR a script may run ' .. MAX_COMMANDS .. ' commands' })
    end
    local arguments = last > 0 and { ... } or nil
    if is_stored then
      check_key(word, arguments[1], true)
    end
    for i = first, last, distance do
      check_key(word, arguments[i], writes)
    end
    return writes
  end

  local function call(...)
    local writes = check(...)
    local reply = raw_redis.call(...)
    has_written = has_written or writes
    return reply
  end

  local function pcall_command(...)
    local allowed, writes = pcall(check, ...)
    if not allowed then
      -- The pcall of Redis makes a text of an error that is a table.
      return { err = type(writes) == 'table' and writes.err or tostring(writes) }
    end
    local reply = raw_redis.pcall(...)
    has_written = has_written or writes and not (type(reply) == 'table' and reply.err)
    return reply
  end

  local sandbox = {
    call = call, pcall = pcall_command,
    sha1hex = raw_redis.sha1hex, error_reply = raw_redis.error_reply, status_reply = raw_redis.status_reply,
    log = raw_redis.log, LOG_DEBUG = raw_redis.LOG_DEBUG, LOG_VERBOSE = raw_redis.LOG_VERBOSE,
    LOG_NOTICE = raw_redis.LOG_NOTICE, LOG_WARNING = raw_redis.LOG_WARNING,
    REDIS_VERSION = raw_redis.REDIS_VERSION, REDIS_VERSION_NUM = raw_redis.REDIS_VERSION_NUM,
  }
  -- The settings of cjson last beyond this run, so no script may change them.
  local json = { encode = cjson.encode, decode = cjson.decode, null = cjson.null }
  local function metatable_of(value)
    return type(value) == 'table' and getmetatable(value) or nil
  end
  local function throw(message, level)
    thrown = { message }
    level = level or 1
    error(message, level > 0 and level + 1 or 0)
  end
  local function assert_true(value, message, ...)
    if not value then
      throw(message == nil and 'assertion failed!' or message, 2)
    end
    return value, message, ...
  end

  local chunk = user_chunk(sandbox, sandbox, keys, args, json, metatable_of, throw, assert_true,
    protected_call, protected_call_with, coroutines)
  local succeeded, result = xpcall(function()
    return checked_result(chunk(unpack(args, 1, math.min(#args, 200))), 1, { values = 0, bytes = 0 })
  end, function(failure)
    return { cause = failure, line = running_line(last_line) }
  end)
  if succeeded and not (type(result) == 'table' and result.err) then
    return { 'ok', { result } }
  end

  local failure, line = result, false
  if not succeeded and type(result) == 'table' then
    failure, line = result.cause, result.line
  end
  if forbidden and failure == forbidden then
    return { 'key_not_allowed', name, line, forbidden.command, forbidden.key:sub(1, MAX_MESSAGE), has_written and 'unknown' or 'none' }
  end
  local is_command = type(failure) == 'table'
  local message = tostring(is_command and (failure.err or 'an error without a message') or failure)
  local is_user = succeeded or (thrown and (thrown[1] == failure or type(failure) == 'string'
    and type(thrown[1]) == 'string' and failure:sub(-#thrown[1]) == thrown[1]))
  local at, rest = message:match('^user_script:(%d+): (.*)$')
  if at then
    line, message = tonumber(at) - 1, rest
  end
  local kind = kind_of(message, is_command, is_user, is_command and failure.is_own)
  local effects = has_written and 'unknown' or 'none'
  return {
    'script_error', name, kind, line, false, message:sub(1, MAX_MESSAGE), effects, replayable = has_written and true or false,
  }
end
