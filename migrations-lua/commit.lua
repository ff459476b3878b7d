-- The commit, which the loader puts behind `runner.lua`: it sees the variables of the runner, when all steps have decided
-- and every text is encoded. It writes everything, or undoes what it has written when a write fails.
--
-- Additions come before removals, so that no key becomes empty and is created again: while a slot migrates, that
-- would fail.
local commit_error = nil

-- Runs one write and returns its reply; nil, with `commit_error` set, where it fails.
local function write(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    commit_error = reply.err
    return nil
  end
  return reply
end

local logs_written = 0
for log, command in next, logs or {} do
  local length = write(unpack(command))
  if not length then
    break
  end
  logs_written = logs_written + 1
  if length > history + 256 then
    -- Trimming many entries at once, not every append pays for it.
    queue_cleanup('LTRIM', log, -history, -1)
  end
end

local hashes_written = 0
for hash, command in next, not commit_error and hashes or {} do
  if not write(unpack(command)) then
    break
  end
  hashes_written = hashes_written + 1
  -- The first field gives the hash its end, so that the others do not write it again to the append-only file.
  if not write('PEXPIRE', hash, transaction_ttl_ms + SLACK_MS, 'NX') then
    break
  end
end

local additions_written = 0
for i = 1, not commit_error and additions and #additions or 0 do
  local addition = additions[i]
  local new_count = write(unpack(addition))
  if not new_count then
    break
  end
  additions_written = i
  if new_count == 0 and addition.undo[1] == 'ZREM' then
    addition.undo = nil -- the member was there before, though no record says so, and stays
  end
end

local persistent_written = not commit_error and persistent and write(unpack(persistent))

local removals_written = 0
for i = 1, not commit_error and removals and #removals or 0 do
  if not write(unpack(removals[i])) then
    break
  end
  removals_written = i
end

local created_written = 0
for i = 1, not commit_error and created and #created or 0, 3 do
  if not write('SET', created[i], created[i + 1], 'PX', created[i + 2]) then
    break
  end
  created_written = i
end

-- To overwrite a record loses its time to live, which is read first where a later write may fail.
local overwritten_written = 0
for i = 1, not commit_error and overwritten and #overwritten or 0, 4 do
  local record_key, text, ttl_ms = overwritten[i], overwritten[i + 1], overwritten[i + 2]
  if not overwritten[i + 3] and i + 4 <= #overwritten then
    overwritten[i + 3] = write('PTTL', record_key) or false
  end
  if commit_error
    or not (ttl_ms == 0 and write('SET', record_key, text) or ttl_ms > 0 and write('SET', record_key, text, 'PX', ttl_ms)) then
    break
  end
  overwritten_written = i
end

if not commit_error then
  for i = 1, cleanups and #cleanups or 0 do
    redis.pcall(unpack(cleanups[i]))
  end
  return replies
end

-- A write has failed: what was written before it is undone, in reverse.
local undone = true
local function undo(...)
  local reply = redis.pcall(...)
  undone = undone and not (type(reply) == 'table' and reply.err)
end
-- Not by SET and DEL: the write that failed may be one of those, and then they would fail here again. MSET and
-- PEXPIRE come before every write that is undone by them. A time to live of 0 deletes.
local function restore(key, ttl_ms)
  if not loaded[key] then
    return undo('PEXPIRE', key, 0)
  end
  undo('MSET', key, loaded[key])
  if ttl_ms and ttl_ms >= 0 then
    undo('PEXPIRE', key, math.max(ttl_ms, 1))
  end
end
-- Removes a member. The write that failed may be a ZREM, so there is another way.
local function take_out(key, member)
  local reply = redis.pcall('ZREM', key, member)
  if type(reply) == 'table' and reply.err then
    local rank = redis.pcall('ZRANK', key, member)
    undo('ZREMRANGEBYRANK', key, rank, rank)
  end
end
for i = overwritten_written, 1, -4 do
  restore(overwritten[i], overwritten[i + 3])
end
for i = created_written, 1, -3 do
  restore(created[i])
end
for i = removals_written, 1, -1 do
  local removal = removals[i]
  if removal.undo then
    undo(unpack(removal.undo))
  else
    restore(removal[2], removal.ttl_ms)
  end
end
for i = 2, persistent_written and #persistent or 0, 2 do
  restore(persistent[i])
end
for i = additions_written, 1, -1 do
  local command = additions[i].undo
  if command and command[1] == 'ZREM' then
    take_out(command[2], command[3])
  elseif command then
    undo(unpack(command))
  end
end
-- `next` goes through a table that has not changed in the same order as before.
for hash, command in next, hashes_written > 0 and hashes or {} do
  local names = {}
  for i = 3, #command, 2 do
    names[#names + 1] = command[i]
  end
  undo('HDEL', hash, unpack(names))
  hashes_written = hashes_written - 1
  if hashes_written == 0 then
    break
  end
end
for log, command in next, logs_written > 0 and logs or {} do
  undo('RPOP', log, #command - 2)
  logs_written = logs_written - 1
  if logs_written == 0 then
    break
  end
end
if undone and not has_written then
  return { err = 'ABORTED ' .. commit_error }
end
for record_key, encode in next, encoders or {} do
  if encode == encode_idempotency_record then
    remember_torn(record_key, open_records[record_key]:sub(1, 40))
  end
end
return { err = 'TORN ' .. commit_error }
