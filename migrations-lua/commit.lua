-- The commit, which the loader puts behind `runner.lua`: it sees the variables of the runner, when all steps have decided
-- and every text is encoded. It writes everything, or undoes what it has written when a write fails.
--
-- Additions come before removals, so that no key becomes empty and is created again: while a slot migrates, that
-- would fail.
local commit_error = nil
local phase, done = 1, 0 -- which list of writes it is at, and how much of that is written

-- Runs one write and returns its reply; nil, with `commit_error` set, where it fails.
local function write(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    commit_error = reply.err
    return nil
  end
  return reply
end

for log, command in next, logs or {} do
  local length = write(unpack(command))
  if not length then
    break
  end
  done = done + 1
  if length > history + 256 then
    -- Trimming many entries at once, not every append pays for it.
    queue_cleanup('LTRIM', log, -history, -1)
  end
end

if hashes and not commit_error then
  phase, done = 2, 0
  for hash, command in next, hashes do
    if not write(unpack(command)) then
      break
    end
    done = done + 1
    -- The first field gives the hash its end, so that the others do not write it again to the append-only file.
    if not write('PEXPIRE', hash, transaction_ttl_ms + SLACK_MS, 'NX') then
      break
    end
  end
end

if additions and not commit_error then
  phase, done = 3, 0
  for i = 1, #additions do
    local addition = additions[i]
    local new_count = write(unpack(addition))
    if not new_count then
      break
    end
    done = i
    if new_count == 0 and addition.undo[1] == 'ZREM' then
      addition.undo = nil -- the member was there before, though no record says so, and stays
    end
  end
end

if persistent and not commit_error then
  phase, done = 4, write(unpack(persistent)) and #persistent or 0
end

if removals and not commit_error then
  phase, done = 5, 0
  for i = 1, #removals do
    if not write(unpack(removals[i])) then
      break
    end
    done = i
  end
end

if created and not commit_error then
  phase, done = 6, 0
  for i = 1, #created, 3 do
    if not write('SET', created[i], created[i + 1], 'PX', created[i + 2]) then
      break
    end
    done = i
  end
end

-- To overwrite a record loses its time to live, which is read first where a later write may fail.
if overwritten and not commit_error then
  phase, done = 7, 0
  for i = 1, #overwritten, 4 do
    local record_key, text, ttl_ms = overwritten[i], overwritten[i + 1], overwritten[i + 2]
    if not overwritten[i + 3] and i + 4 <= #overwritten then
      overwritten[i + 3] = write('PTTL', record_key) or false
    end
    if commit_error
      or not (ttl_ms == 0 and write('SET', record_key, text) or ttl_ms > 0 and write('SET', record_key, text, 'PX', ttl_ms)) then
      break
    end
    done = i
  end
end

if not commit_error then
  for i = 1, cleanups and #cleanups or 0 do
    redis.pcall(unpack(cleanups[i]))
  end
  return replies
end

-- A write has failed. Undoes those before it, in reverse, and returns whether all of them are undone.
local function undo_writes()
  local undone = true
  local function undo(...)
    local reply = redis.pcall(...)
    undone = undone and not (type(reply) == 'table' and reply.err)
  end
  -- Not by SET and DEL: the write that failed may be one of those, and then they would fail here again. MSET and
  -- PEXPIRE come before every write of a record that is undone by them. A time to live of 0 deletes.
  local function restore(key, ttl_ms)
    if not loaded[key] then
      return undo('PEXPIRE', key, 0)
    end
    undo('MSET', key, loaded[key])
    if ttl_ms and ttl_ms >= 0 then
      undo('PEXPIRE', key, math.max(ttl_ms, 1))
    end
  end
  -- Returns how much of a phase is written; `all` of it, if a later one has begun.
  local function written(of_phase, all)
    return phase > of_phase and all or phase == of_phase and done or 0
  end

  for i = written(7, 0), 1, -4 do
    restore(overwritten[i], overwritten[i + 3])
  end
  for i = written(6, created and #created - 2 or 0), 1, -3 do
    restore(created[i])
  end
  for i = written(5, removals and #removals or 0), 1, -1 do
    local removal = removals[i]
    if removal.undo then
      undo(unpack(removal.undo))
      if removal.kept_ms then
        undo('PEXPIRE', removal[2], removal.kept_ms, 'NX')
      end
    else
      restore(removal[2], removal.ttl_ms)
    end
  end
  for i = 2, written(4, persistent and #persistent or 0), 2 do
    restore(persistent[i])
  end
  for i = written(3, additions and #additions or 0), 1, -1 do
    local command = additions[i].undo
    if command and command[1] == 'ZREM' and type(redis.pcall(unpack(command))) == 'table' then
      -- The write that failed may be a ZREM, so this one has failed too. A member is removed by its rank as well.
      local rank = redis.pcall('ZRANK', command[2], command[3])
      undo('ZREMRANGEBYRANK', command[2], rank, rank)
    elseif command and command[1] ~= 'ZREM' then
      undo(unpack(command))
    end
  end
  -- `next` goes through a table that has not changed in the same order as before.
  local left = written(2, math.huge)
  for hash, command in next, left > 0 and hashes or {} do
    for i = 3, #command, 2 do
      undo('HDEL', hash, command[i])
    end
    left = left - 1
    if left == 0 then
      break
    end
  end
  left = written(1, math.huge)
  for log, command in next, left > 0 and logs or {} do
    undo('RPOP', log, #command - 2)
    left = left - 1
    if left == 0 then
      break
    end
  end
  return undone
end

if undo_writes() and not has_written then
  return { err = 'ABORTED ' .. commit_error }
end
for record_key, encode in next, encoders or {} do
  if encode == encode_idempotency_record then
    remember_torn(record_key, open_records[record_key]:sub(1, 40))
  end
end
return { err = 'TORN ' .. commit_error }
