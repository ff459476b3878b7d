-- The runner: every call runs in it. `README.md` beside this file is its contract. The loader
-- (`src/store/script/assemble.rs`) puts the shared functions and the operations of one script in the place
-- of the line `--- @operations`, and `commit.lua` behind the last line.
--
-- ARGV: clock_ahead_ms, idempotency_ttl_ms, transaction_ttl_ms, history, then for each step
--       operation, key_count, arg_count, mark, and its arguments. A mark is a fingerprint if the step has an idempotency
--       key, and then `@` with the caller's key if it has one: its id, a blank and its name as JSON.
-- KEYS: for each step its keys, and after them the key of its idempotency record if it has a fingerprint.
-- Reply: for each step two values: 1 for a replay or 0, and the operation's reply.
-- Errors: ABORTED (nothing was written, or all of it was undone), PREREQUISITE (nothing was written, another
--       operation has to run first), NOT_ISOLATED (nothing was written, the step has to be alone),
--       TORN (something stays written that belongs to a call that failed, now or under the same idempotency key before).
--
-- Steps decide first and only change what is in memory; the commit writes.

-- The fields of a hash are written in one second by the clocks of the services, and these may be apart by as much.
local SLACK_MS = 60000

local clock_ahead_ms, history = ARGV[1], ARGV[4]
local idempotency_ttl_ms, transaction_ttl_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.pcall('TIME')
if time.err then
  return { err = 'ABORTED ' .. time.err }
end
local now_us = time[1] * 1000000 + time[2] + clock_ahead_ms * 1000
local now = math.floor(now_us / 1000)

local loaded = {} -- by key of a record: its text as MGET has read it, false where there is none
local missing_keys, are_absent = nil, nil -- keys under which MGET found nothing; true once EXISTS says that none of them holds anything
local open_records = {} -- by key: decoded records, as the steps so far have left them
-- The lists that the commit works through. Most runs need few of them, so each is created when it gets its first entry.
local encoders = nil -- by key: the encoder of a changed record
local logs = nil -- by key: the RPUSH command that appends to it
local hashes = nil -- by key: the HSET command that adds fields to a hash that ends as a whole
local created = nil -- new records with an end: key, text, time to live, in turn
local additions = nil -- commands that add to collections, each with the command that undoes it
local removals = nil -- commands that remove, likewise
local cleanups = nil -- commands whose failure changes no answer
local persistent = nil -- the MSET command of all records without an end
local overwritten = nil -- records that had an end and exist: key, text, time to live (0 for none), and that of an undo (false: not known yet)
local has_written = false -- true once a step has written by itself, which only an OWN SCRIPT may
local is_only_step = false -- true while the running step has the script to itself
local acting_key = nil -- the caller's key of the running step, nil where it has none

-- Fails the script: the key holds something that is not ours.
--- @lazy
local function fail_corrupt(key, expected)
  error(key .. ' does not hold ' .. expected, 0)
end

-- Returns the text of a record, or nil where there is none. MGET answers nil for a key of another type as
-- well, and to take that for absence would overwrite somebody else's data.
local function read_record(key)
  local text = loaded[key]
  if text then
    return text
  end
  if text == nil then
    error(key .. ' is no record by the header of the script', 0)
  end
  if are_absent == nil then -- most records that are missing are new, so one question does for all
    are_absent = redis.call('EXISTS', unpack(missing_keys)) == 0
  end
  if not are_absent and redis.call('EXISTS', key) == 1 then
    error('WRONGTYPE ' .. key .. ' is not a record', 0)
  end
  return nil
end

-- Returns the record under a key, decoded by `decode(key, text)` when the first step asks for it; nil
-- where there is none.
local function open_record(key, decode)
  local record = open_records[key]
  if record then
    return record
  end
  local text = read_record(key)
  if not text then
    return nil
  end
  record = decode(key, text)
  open_records[key] = record
  return record
end

-- Has an open record written at the commit. `encode(key, record)` returns its text and, for a record that
-- can have an end, its time to live in milliseconds (0 for none); or nil if it has queued its writes itself.
-- Its third value is true where the record does no harm if it ends that much later: an undo then leaves the
-- new end, and the commit need not ask for the old one.
local function mark_dirty(key, encode)
  encoders = encoders or {}
  encoders[key] = encode
end

-- Has a new record with an end written. No other step can open it: its id was generated for this one.
local function create_record(key, text, ttl_ms)
  if created then
    local count = #created
    created[count + 1], created[count + 2], created[count + 3] = key, text, ttl_ms
  else
    created = { key, text, ttl_ms }
  end
end

-- Has an entry appended to a log, which keeps at least its newest `history` entries.
local function append(log, entry)
  logs = logs or {}
  local command = logs[log]
  if command then
    command[#command + 1] = entry
  else
    logs[log] = { 'RPUSH', log, entry }
  end
end

-- Has a new field written to a hash that ends as a whole, at least `transaction_ttl_ms` later. No other step can open the
-- field: its id was generated for this one.
local function add_field(key, field, text)
  hashes = hashes or {}
  local command = hashes[key]
  if command then
    local count = #command
    command[count + 1], command[count + 2] = field, text
  else
    hashes[key] = { 'HSET', key, field, text }
  end
end

local function queue_addition(command, undo)
  additions = additions or {}
  command.undo = undo
  additions[#additions + 1] = command
end

--- @lazy
local function queue_removal(command, undo, kept_ms)
  removals = removals or {}
  command.undo, command.kept_ms = undo, kept_ms
  removals[#removals + 1] = command
end

-- Has a member added to a sorted set. `old_score` is its score where it is a member already.
local function add_member(key, score, member, old_score)
  local undo = old_score and { 'ZADD', key, old_score, member } or { 'ZREM', key, member }
  queue_addition({ 'ZADD', key, score, member }, undo)
end

-- Has a member with this score removed from a sorted set. `kept_ms` is the time to live of the set, nil where it has none:
-- if the last member is removed and that is undone, Redis creates the set anew without an end, so the undo sets it again.
local function remove_member(key, score, member, kept_ms)
  queue_removal({ 'ZREM', key, member }, { 'ZADD', key, score, member }, kept_ms)
end

-- Has the first members of a sorted set removed. `members` are they, each with its score after it.
--- @lazy
local function remove_first_members(key, members)
  local undo = { 'ZADD', key }
  for i = 1, #members, 2 do
    undo[i + 2], undo[i + 3] = members[i + 1], members[i]
  end
  queue_removal({ 'ZREMRANGEBYRANK', key, 0, #members / 2 - 1 }, undo)
end

-- Has a field of a hash set. `old_text` is what it holds now, nil for nothing.
local function set_field(key, field, text, old_text)
  local undo = old_text and { 'HSET', key, field, old_text } or { 'HDEL', key, field }
  queue_addition({ 'HSET', key, field, text }, undo)
end

-- Has a record deleted.
local function delete_record(key)
  local text = loaded[key]
  if text then
    queue_removal({ 'DEL', key, ttl_ms = redis.call('PTTL', key) }, nil)
  end
end

-- Has a command run at the end of the commit that only tidies up. If it fails, nothing else does.
local function queue_cleanup(...)
  cleanups = cleanups or {}
  cleanups[#cleanups + 1] = { ... }
end

-- Aborts before any write and asks the service to run `operation` on these keys until its backlog is
-- empty, and then this script again.
--- @lazy
local function require_first(operation, ...)
  error({ reply = table.concat({ 'PREREQUISITE', operation, ... }, ' ') })
end

-- Discards everything that would have been written. The records in memory are then not those that are
-- stored, so no other step may see them: where there is one, the script aborts, and the service sends each
-- step alone.
local function rollback()
  if not is_only_step then
    error({ reply = 'NOT_ISOLATED' })
  end
  encoders, logs, hashes, created, additions, removals, cleanups = nil, nil, nil, nil, nil, nil, nil
end

-- The place of the running step: its keys are KEYS[first_key + 1] to KEYS[first_key + key_count], its
-- arguments likewise.
local first_key, key_count, first_arg, arg_count, layout = 0, 0, 0, 0, nil

-- Returns how many lines the running step has: repetitions of the keys that its header marks with a star.
local function line_count()
  return (key_count - layout.fixed_keys) / layout.keys_per_line
end

-- Returns the keys of line `i`, counted from 1; nothing where there is no such line.
local function keys_of_line(i)
  local before = layout.fixed_keys + (i - 1) * layout.keys_per_line
  if before < key_count then
    return unpack(KEYS, first_key + before + 1, first_key + before + layout.keys_per_line)
  end
end

-- Returns the arguments of line `i`, likewise.
local function args_of_line(i)
  local before = layout.fixed_args + (i - 1) * layout.args_per_line
  if before < arg_count then
    return unpack(ARGV, first_arg + before + 1, first_arg + before + layout.args_per_line)
  end
end

-- Returns how many lines of arguments the running step has.
local function arg_line_count()
  return (arg_count - layout.fixed_args) / layout.args_per_line
end

-- The operation of the running step as a function of `first_key` and `first_arg`; `layout` is what its header says of
-- its keys. A script with one operation has no other. A script with several has them by name in these tables.
local current_operation = nil
local operations, layouts = nil, nil

-- Runs an operation on keys and arguments that stand in KEYS and ARGV.
local function run_operation(name, keys_before, keys, args_before, args)
  first_key, key_count, first_arg, arg_count = keys_before, keys, args_before, args
  if operations then
    current_operation, layout = operations[name], layouts[name]
  end
  return current_operation(keys_before, args_before)
end

local function encode_idempotency_record(_, text)
  return text, idempotency_ttl_ms
end

-- Has a repeat under an idempotency key learn that a part of the call stays written, so that it does not run again.
--- @lazy
local function remember_torn(record_key, fingerprint)
  local text = fingerprint .. cmsgpack.pack({ 'torn' })
  -- The write that failed may be one of SET, which would fail here again.
  if redis.pcall('SET', record_key, text, 'PX', idempotency_ttl_ms).err and not redis.pcall('MSET', record_key, text).err then
    redis.pcall('PEXPIRE', record_key, idempotency_ttl_ms)
  end
end

-- Fails the script for a step whose call was torn before under the same idempotency key.
--- @lazy
local function fail_torn_before()
  error({ reply = is_only_step and 'TORN the first call under this idempotency key stays written in part' or 'NOT_ISOLATED' })
end

-- Runs the operation, or returns the reply that it had when this idempotency key was first seen. A record
-- is the fingerprint of the call and its reply as MessagePack, which no other client can configure.
local function run_idempotent(record_key, fingerprint, name, key, keys, arg, args)
  local record = open_records[record_key] or read_record(record_key)
  if record then
    if record:sub(1, 40) ~= fingerprint then
      return 0, { 'idempotency_key_reused' }
    end
    local reply = cmsgpack.unpack(record:sub(41))
    if type(reply) ~= 'table' or type(reply[1]) ~= 'string' then
      fail_corrupt(record_key, 'a reply')
    end
    if reply[1] == 'torn' then
      fail_torn_before()
    end
    -- The record must outlive this repeat, and a WAIT that follows must cover it.
    queue_cleanup('PEXPIRE', record_key, idempotency_ttl_ms)
    return 1, reply
  end
  local reply = run_operation(name, key, keys, arg, args)
  if reply.replayable ~= false then
    open_records[record_key] = fingerprint .. cmsgpack.pack(reply)
    mark_dirty(record_key, encode_idempotency_record)
  end
  return 0, reply
end

-- Runs all steps in memory and returns their replies. Nothing is written, except by an OWN SCRIPT.
local function run_steps()
  local last_arg = #ARGV

  -- The records of all steps are loaded with one MGET. Other keys are left out: most of them exist, and to
  -- look up a log is not cheap. Of an operation that runs others, all keys are looked up.
  local wanted, wanted_count = {}, 0
  local key, arg = 0, 4
  while arg < last_arg do
    local step = layouts and layouts[ARGV[arg + 1]] or layout
    local keys = step.keys or tonumber(ARGV[arg + 2])
    if step.all_keys then
      are_absent = false -- some of these keys hold collections, so each is asked for by itself
    end
    for i = 1, step.all_keys and keys or #step do
      wanted_count = wanted_count + 1
      wanted[wanted_count] = KEYS[key + (step.all_keys and i or step[i])]
    end
    local line_records = step.line_records
    if line_records then
      for before = key + step.fixed_keys, key + keys - 1, step.keys_per_line do
        for i = 1, #line_records do
          wanted_count = wanted_count + 1
          wanted[wanted_count] = KEYS[before + line_records[i]]
        end
      end
    end
    key = key + keys
    local mark = ARGV[arg + 4]
    if mark ~= '' and mark:byte(1) ~= 64 then
      key, wanted_count = key + 1, wanted_count + 1
      wanted[wanted_count] = KEYS[key]
    end
    arg = arg + 4 + (step.args or ARGV[arg + 3])
  end
  if wanted_count > 0 then
    local texts = redis.call('MGET', unpack(wanted, 1, wanted_count))
    for i = 1, wanted_count do
      local record_key, text = wanted[i], texts[i]
      loaded[record_key] = text
      if not text then
        missing_keys = missing_keys or {}
        missing_keys[#missing_keys + 1] = record_key
      end
    end
  end

  local replies, reply_count = nil, 0
  key, arg = 0, 4
  while arg < last_arg do
    local name, fingerprint = ARGV[arg + 1], ARGV[arg + 4]
    acting_key = nil
    if #fingerprint > 40 or fingerprint:byte(1) == 64 then
      fingerprint, acting_key = fingerprint:match('^(%x*)@(.*)$')
    end
    local step = layouts and layouts[name] or layout
    local keys, args = step.keys or tonumber(ARGV[arg + 2]), step.args or tonumber(ARGV[arg + 3])
    local step_key, step_arg = key, arg + 4
    key, arg = key + keys, arg + 4 + args
    is_only_step = reply_count == 0 and arg == last_arg

    local replayed, reply = 0
    if fingerprint == '' then
      reply = run_operation(name, step_key, keys, step_arg, args)
    else
      key = key + 1
      replayed, reply = run_idempotent(KEYS[key], fingerprint, name, step_key, keys, step_arg, args)
    end
    if replies then
      replies[reply_count + 1], replies[reply_count + 2] = replayed, reply
    else
      replies = { replayed, reply }
    end
    reply_count = reply_count + 2
  end

  -- Every text is encoded before the first write.
  local overwritten_count, persistent_count = 0, 1
  for record_key, encode in next, encoders or {} do
    local text, ttl_ms, may_end_later = encode(record_key, open_records[record_key])
    if ttl_ms and loaded[record_key] then
      local undo_ttl_ms = may_end_later and ttl_ms
      if overwritten then
        overwritten[overwritten_count + 1], overwritten[overwritten_count + 2] = record_key, text
        overwritten[overwritten_count + 3], overwritten[overwritten_count + 4] = ttl_ms, undo_ttl_ms or false
      else
        overwritten = { record_key, text, ttl_ms, undo_ttl_ms or false }
      end
      overwritten_count = overwritten_count + 4
    elseif ttl_ms then
      create_record(record_key, text, ttl_ms)
    elseif text then
      if persistent then
        persistent[persistent_count + 1], persistent[persistent_count + 2] = record_key, text
      else
        persistent = { 'MSET', record_key, text }
      end
      persistent_count = persistent_count + 2
    end
  end
  return replies
end

--- @operations

local succeeded, replies = pcall(run_steps)
if not succeeded then
  local failure = replies
  -- `pcall` of Redis turns the error of a command into its text, so a table is one that this file has thrown, with its reply.
  local has_reply = type(failure) == 'table'
  if has_reply and not has_written then
    return { err = failure.reply }
  end
  if has_written and ARGV[8] ~= '' then -- an OWN SCRIPT is alone, so this is its fingerprint
    remember_torn(KEYS[#KEYS], ARGV[8])
  end
  return { err = (has_written and 'TORN ' or 'ABORTED ') .. (has_reply and failure.reply or tostring(failure)) }
end
