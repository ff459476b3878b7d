-- Plain data keys of callers. Their commands are Redis' own, and write at once: nothing of the frame
-- holds for them, which is why such an operation has its script to itself. Each answers `ok` and what
-- Redis says, or `error` and why; one that fails has done nothing, and the others go on.
local function run_data(key, word, ...)
  local answer = redis.pcall(word, key, ...)
  if type(answer) == 'table' then
    if answer.err then
      return { 'error', answer.err }
    end
    answer = answer.ok or answer
  elseif word == 'INCRBY' or word == 'DECRBY' then
    -- A number of 64 bits would lose its last digits as a number of Lua.
    answer = redis.call('GET', key)
  end
  return { 'ok', answer }
end

-- Runs the commands that the arguments name from `arg` on, one for each key: its word, how many
-- arguments it has, and those. What they read adds up to `budget` bytes, and hardly more than one value
-- above it: a short call that reads a long value again and again would fill Redis' memory.
local function run_all_data(keys, args, arg, budget)
  local results, read = {}, 0
  for i = 1, #keys do
    local word, count = args[arg], args[arg + 1]
    local reads = word == 'GET' or word == 'HGET'
    if reads and read >= budget then
      results[i] = { 'error', 'TOOLARGE' }
    else
      results[i] = run_data(keys[i], word, unpack(args, arg + 2, arg + 1 + count))
      read = read + (reads and results[i][2] and #results[i][2] or 0)
    end
    arg = arg + 2 + count
  end
  return results
end
