#!lua
-- The frame that every call runs in. `README.md` beside this file is its contract; the loader puts
-- the shared functions and the operations of one script in the place of the line `--- @operations`,
-- and in `records` where, by its header, an operation has records among its keys: their positions
-- among those that come once, how many those are, and the same for the keys of each line. Of an
-- operation that runs others nothing is known, and all its keys are looked up.
--
-- ARGV: clock_ahead_ms, once_ttl_ms, transaction_ttl_ms, history, then for each step
--       operation, key_count, arg_count, fingerprint, and its arguments.
-- KEYS: for each step its keys, and after them its idempotency record where it has a fingerprint.
-- Answer: for each step two values, whether it is a replay (1 or 0) and the reply.
--
-- Nothing is written before the commit at the end, so an error or a refusal leaves Redis as it was.

local clock_ahead_ms, once_ttl_ms, transaction_ttl_ms, history = unpack(ARGV, 1, 4)
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2] + clock_ahead_ms * 1000
local now = math.floor(now_us / 1000)

local loaded = {} -- what MGET gave for the key of a record; false where it gave nothing
local absent = {} -- keys that have been seen to hold nothing at all
local live = {} -- the records that a step has opened, decoded, as the steps so far have left them
local encoders, changed, changed_count = {}, {}, 0 -- by key, how to write what has changed; and those keys in order
local logs, log_order, log_count = {}, {}, 0 -- by key, the entries to append; and those keys in order
local ending, ending_count = {}, 0 -- of what has an end: key, text and time to live, one after the other
local queued = {} -- commands on collections whose type a step has already seen

-- The text of a record, or nil where there is none. MGET answers nothing for a key of another type
-- too, and to take that for absence would overwrite what somebody else keeps there.
local function stored(key)
  local text = loaded[key]
  if text then
    return text
  end
  if text == nil then
    error(key .. ' is no record by the header of the script', 0)
  end
  if not absent[key] then
    if redis.call('EXISTS', key) == 1 then
      error('WRONGTYPE ' .. key .. ' is not a record', 0)
    end
    absent[key] = true
  end
  return nil
end

-- Marks an open record as changed. At the commit `encode(key, record)` answers its text, and its
-- time to live in milliseconds if it has an end; or nothing, if it has queued what it needs itself.
local function change(key, encode)
  if not encoders[key] then
    changed_count = changed_count + 1 -- here and below, `#` of a long list is a search
    changed[changed_count] = key
  end
  encoders[key] = encode
end

-- Has a record with an end written that no step of this script opens, for it is new.
local function create(key, text, ttl_ms)
  ending[ending_count + 1], ending[ending_count + 2], ending[ending_count + 3] = key, text, ttl_ms
  ending_count = ending_count + 3
end

-- Appends an entry to a log, of which at least the newest `history` are kept.
local function append(key, entry)
  local entries = logs[key]
  if entries then
    entries[#entries + 1] = entry
  else
    logs[key] = { entry }
    log_count = log_count + 1
    log_order[log_count] = key
  end
end

local function broken(key, what)
  error(key .. ' does not hold ' .. what, 0)
end

-- Ends the script, with nothing written: the service first runs another operation on these keys, as
-- often as it takes, and then this one again. So that what has piled up is worked off in small parts.
local function first(operation, ...)
  error({ err = table.concat({ 'FIRST', operation, ... }, ' ') })
end

local alone = false -- whether the step that runs has the script to itself

-- Forgets all that would have been written. The records in memory are then no longer what is stored,
-- so no other step may see them: where there is one, the script ends, and the service sends each alone.
local function forget_changes()
  if not alone then
    error({ err = 'ALONE' })
  end
  encoders, changed, changed_count = {}, {}, 0
  logs, log_order, log_count = {}, {}, 0
  ending, ending_count, queued = {}, 0, {}
end

-- A bucket counts in parts of a token, so small that one millisecond refills a whole number of them:
-- `per_token` parts are a token, `per_ms` parts come back each millisecond. No fraction is ever lost.
local BUCKET = '^{"level":(%d+),"per_token":(%d+),"at":(%d+)}$'

-- The least whole n with n * by >= amount; a plain division could round the other way.
local function divide_up(amount, by)
  local rest = math.fmod(amount, by)
  return (amount - rest) / by + (rest > 0 and 1 or 0)
end

local function encode_bucket(_, it)
  local text = ('{"level":%d,"per_token":%d,"at":%d}'):format(it.level, it.per_token, it.at)
  -- A bucket that is full again is as good as one that never was.
  return text, math.max(divide_up(it.full - it.level, it.per_ms), 1)
end

-- Takes `cost` tokens if they are there. Answers whether, what remains, and the two waits.
local function take_tokens(key, cost, capacity, per_token, per_ms)
  local full = capacity * per_token
  local it = live[key]
  if not it then
    local text = stored(key)
    if text then
      local level, parts, at = text:match(BUCKET)
      if not level or #level > 16 or #parts > 16 or #at > 16 or parts == '0' then
        broken(key, 'a bucket')
      end
      it = { level = tonumber(level), per_token = tonumber(parts), at = tonumber(at) }
    else
      it = { level = full, per_token = per_token, at = now }
    end
    live[key] = it
  end

  local level = it.level
  if it.per_token ~= per_token then
    -- The rule has changed: whole tokens are kept.
    level = math.floor(level / it.per_token) * per_token
  end
  level = math.min(level + math.max(now - it.at, 0) * per_ms, full)
  local missing = cost * per_token - level
  if missing > 0 then
    return false, math.floor(level / per_token), divide_up(missing, per_ms), divide_up(full - level, per_ms)
  end
  -- Should the clock step back, what was refilled once is not refilled again.
  it.level, it.per_token, it.per_ms, it.full, it.at = level - cost * per_token, per_token, per_ms, full, math.max(it.at, now)
  change(key, encode_bucket)
  return true, math.floor(it.level / per_token), 0, divide_up(full - it.level, per_ms)
end
-- The exact log of a window: a sorted set scored by the instant of each admission. A member carries the
-- running total after it and its own units, `total:units`, so the units within any stretch of time are
-- a difference of two totals, however large the costs were. The total is padded to sort as a number.
local ENTRY = '^(%d+):(%d+)$'

local function parse_entry(key, member)
  local total, units = member:match(ENTRY)
  if not total or #total ~= 16 or #units > 5 then
    broken(key, 'a window')
  end
  return tonumber(total), tonumber(units)
end

-- What the set tells now; the admissions of this very call are added in memory.
local function open_window(key, window_ms)
  local it = live[key]
  if it then
    return it
  end
  it = { total = 0, before = 0, added = 0 }
  local newest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  if newest[1] then
    it.total = parse_entry(key, newest[1])
    it.before, it.newest_at = it.total, tonumber(newest[2])
    local oldest = redis.call('ZRANGEBYSCORE', key, '(' .. (now - window_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if oldest[1] then
      it.oldest, it.oldest_at = oldest[1], tonumber(oldest[2])
      it.oldest_total, it.oldest_units = parse_entry(key, it.oldest)
      it.before = it.oldest_total - it.oldest_units
    end
  end
  live[key] = it
  return it
end

-- When the running total reached `total`: the entry that must leave the window before there is room.
local function reached_at(key, it, total)
  if not it.oldest or total > it.total - it.added then
    return now
  end
  if it.oldest_total >= total then
    return it.oldest_at
  end
  local low, high = redis.call('ZRANK', key, it.oldest), redis.call('ZCARD', key) - 1
  while low + 1 < high do
    local middle = math.floor((low + high) / 2)
    local member = redis.call('ZRANGE', key, middle, middle)[1]
    if parse_entry(key, member) >= total then
      high = middle
    else
      low = middle
    end
  end
  return tonumber(redis.call('ZRANGE', key, high, high, 'WITHSCORES')[2])
end

local function encode_window(key, it)
  queued[#queued + 1] = { 'ZREMRANGEBYSCORE', key, '-inf', now - it.window_ms }
  queued[#queued + 1] = { 'ZADD', key, math.max(now, it.newest_at or 0), ('%016d:%d'):format(it.total, it.added) }
  queued[#queued + 1] = { 'PEXPIRE', key, it.window_ms }
end

-- Admits `cost` units if they fit. Answers whether, what remains, and the two waits.
local function admit(key, cost, limit, window_ms)
  local it = open_window(key, window_ms)
  local used = it.total - it.before
  if used + cost > limit then
    local retry_after_ms = reached_at(key, it, it.total + cost - limit) + window_ms - now
    local newest_at = it.added > 0 and now or it.newest_at
    return false, math.max(limit - used, 0), retry_after_ms, newest_at + window_ms - now
  end
  it.total, it.added, it.window_ms = it.total + cost, it.added + cost, window_ms
  change(key, encode_window)
  return true, limit - used - cost, 0, window_ms
end

local operations, records = {}, {}
operations['ratelimit/check'] = function(keys, args)
--[[
Ask a limit for room, and take it if there is.

KEYS
  state_key        bucket, or sorted set of a window

ARGV
  key              id
  cost             units
  algorithm        token_bucket or sliding_window
  limit            the most at once: the capacity of a bucket, the limit of a window
  per_token        parts of a token, of a bucket; the length of a window in milliseconds
  per_ms           parts that come back each millisecond, of a bucket

REPLY
  ok               key allowed limit remaining retry_after_ms reset_after_ms cost
  rate_limited     key allowed:json limit remaining retry_after_ms reset_after_ms cost
]]
--- @include "lib/token_bucket"
--- @include "lib/sliding_window"

local state_key = unpack(keys)
local key, cost, algorithm, limit, per_token, per_ms = unpack(args)

cost, limit = tonumber(cost), tonumber(limit)
local allowed, remaining, retry_after_ms, reset_after_ms
if algorithm == 'token_bucket' then
  allowed, remaining, retry_after_ms, reset_after_ms = take_tokens(state_key, cost, limit, tonumber(per_token), tonumber(per_ms))
else
  allowed, remaining, retry_after_ms, reset_after_ms = admit(state_key, cost, limit, tonumber(per_token))
end

if not allowed then
  return { 'rate_limited', key, 'false', limit, remaining, retry_after_ms, reset_after_ms, cost, forget = true }
end
-- As text: a number loses its last digits on the way into the record of an idempotency key.
return { 'ok', key, 'true', ('%d'):format(limit), ('%d'):format(remaining), retry_after_ms, ('%d'):format(reset_after_ms), ('%d'):format(cost) }

end
records['ratelimit/check'] = { 1, }

-- Only the keys of records are looked up: most of the others exist, and to find a log is not cheap.
local wanted, wanted_count = {}, 0
local key, arg = 0, 4
while arg < #ARGV do
  local where, key_count = records[ARGV[arg + 1]], tonumber(ARGV[arg + 2])
  for i = 1, where and #where or key_count do
    wanted_count = wanted_count + 1
    wanted[wanted_count] = KEYS[key + (where and where[i] or i)]
  end
  if where and where.line then
    for before = where.once, key_count - 1, where.line do
      for i = 1, #where.each do
        wanted_count = wanted_count + 1
        wanted[wanted_count] = KEYS[key + before + where.each[i]]
      end
    end
  end
  key = key + key_count
  if ARGV[arg + 4] ~= '' then
    key, wanted_count = key + 1, wanted_count + 1
    wanted[wanted_count] = KEYS[key]
  end
  arg = arg + 4 + ARGV[arg + 3]
end
if wanted_count > 0 then
  local texts = redis.call('MGET', unpack(wanted))
  for i = 1, wanted_count do
    loaded[wanted[i]] = texts[i]
  end
end

local function encode_once(_, text)
  return text, once_ttl_ms
end

-- Runs the operation, or answers what it answered when this idempotency key was first seen.
local function run_once(once_key, fingerprint, operation, keys, args)
  local record = live[once_key] or stored(once_key)
  if record then
    if record:sub(1, 40) ~= fingerprint then
      return 0, { 'idempotency_key_reused' }
    end
    local reply = cjson.decode(record:sub(41))
    if type(reply) ~= 'table' or type(reply[1]) ~= 'string' then
      broken(once_key, 'an answer')
    end
    -- The record must outlive this repeat, and a WAIT that follows must cover it.
    queued[#queued + 1] = { 'PEXPIRE', once_key, once_ttl_ms }
    return 1, reply
  end
  local reply = operation(keys, args)
  if not reply.forget then
    live[once_key] = fingerprint .. cjson.encode(reply)
    change(once_key, encode_once)
  end
  return 0, reply
end

local answers, answer_count = {}, 0
key, arg = 0, 4
while arg < #ARGV do
  local operation = operations[ARGV[arg + 1]]
  local key_count, arg_count, fingerprint = ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4]
  local keys = { unpack(KEYS, key + 1, key + key_count) }
  local args = { unpack(ARGV, arg + 5, arg + 4 + arg_count) }
  key, arg = key + key_count, arg + 4 + arg_count
  alone = answer_count == 0 and arg == #ARGV

  local replayed, reply = 0, nil
  if fingerprint == '' then
    reply = operation(keys, args)
  else
    key = key + 1
    replayed, reply = run_once(KEYS[key], fingerprint, operation, keys, args)
  end
  answers[answer_count + 1], answers[answer_count + 2] = replayed, reply
  answer_count = answer_count + 2
end

-- Commit. Every text is ready before the first write, and the writes that can fail come first.
local lasting, lasting_count = {}, 0
for i = 1, changed_count do
  local record_key = changed[i]
  local text, ttl_ms = encoders[record_key](record_key, live[record_key])
  if ttl_ms then
    create(record_key, text, ttl_ms)
  elseif text then
    lasting[lasting_count + 1], lasting[lasting_count + 2] = record_key, text
    lasting_count = lasting_count + 2
  end
end
for i = 1, log_count do
  local log = log_order[i]
  local length = redis.pcall('RPUSH', log, unpack(logs[log]))
  if type(length) == 'table' then
    -- It is no list: the logs before it lose again what they have just been given.
    for j = 1, i - 1 do
      redis.call('RPOP', log_order[j], #logs[log_order[j]])
    end
    broken(log, 'a log')
  end
  if length > history + 256 then
    -- Trimming many entries at once, not every append pays for it.
    queued[#queued + 1] = { 'LTRIM', log, -history, -1 }
  end
end
for i = 1, #queued do
  redis.call(unpack(queued[i]))
end
if lasting_count > 0 then
  redis.call('MSET', unpack(lasting))
end
for i = 1, ending_count, 3 do
  redis.call('SET', ending[i], ending[i + 1], 'PX', ending[i + 2])
end
return answers
