--- @export run_data_command, run_data_commands

-- The data keys of callers. Their commands are Redis' own and write at once, so an operation on them has an
-- OWN SCRIPT. Each command answers `ok` and the reply of Redis, or `error` and its message; a command that
-- fails has done nothing.
local READS = { GET = true, HGET = true }

-- Runs one command on a data key.
function run_data_command(key, command, ...)
  local reads = READS[command]
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' then
    if reply.err then
      return { 'error', reply.err }
    end
    reply = reply.ok or reply
  elseif command == 'INCRBY' or command == 'DECRBY' then
    has_written = true
    -- As a number of Lua, a number of 64 bits would lose its last digits.
    reply = redis.call('GET', key)
  end
  has_written = has_written or not reads
  return { 'ok', reply }
end

-- Runs the commands that the arguments name from position `arg` of the running step on, one for each of its
-- keys: the command, how many arguments it has, and those. Together they read `budget` bytes, and at most one
-- value more: a short call that reads a long value again and again would fill Redis' memory.
-- `on_error` gets the message of a command that fails.
function run_data_commands(arg, budget, on_error)
  local results, read = {}, 0
  local position = first_arg + arg
  for i = 1, key_count do
    local command, count = ARGV[position], tonumber(ARGV[position + 1])
    local reads = READS[command]
    if reads and read >= budget then
      results[i] = { 'error', 'TOOLARGE' }
    else
      local result = run_data_command(KEYS[first_key + i], command, unpack(ARGV, position + 2, position + 1 + count))
      if on_error and result[1] == 'error' then
        on_error(result[2])
      end
      read = read + (reads and result[1] == 'ok' and result[2] and #result[2] or 0)
      results[i] = result
    end
    position = position + 2 + count
  end
  return results
end
