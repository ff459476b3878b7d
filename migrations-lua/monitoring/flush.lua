--[[
Stores statistics of one process: windows of calls, each as a whole, and calls that have failed. A repeat writes
the same again, so it changes nothing.

INTERNAL

KEYS
  failures_key   zset    newest failures of all processes
  * window_key   hash    calls of a minute or an hour

ARGV
  failures       JSON array of failures, each an array of its score and its text
  kept           how many failures are kept
  failures_ttl_ms  how long they are kept after the last one
  * field        process and operation
  * window       its calls
  * ttl_ms       how long the minute or hour is kept

REPLY
  ok             now_ms
]]

local newest = cjson.decode(failures)
for i = 1, #newest do
  add_member(failures_key, newest[i][1], newest[i][2])
end
if #newest > 0 then
  queue_cleanup('ZREMRANGEBYRANK', failures_key, 0, -kept - 1)
  queue_cleanup('PEXPIRE', failures_key, failures_ttl_ms)
end
local last_key = nil
for i = 1, line_count() do
  local window_key = keys_of_line(i)
  local field, window, ttl_ms = args_of_line(i)
  set_field(window_key, field, window)
  -- Windows of one key follow one another.
  if window_key ~= last_key then
    queue_cleanup('PEXPIRE', window_key, ttl_ms)
    last_key = window_key
  end
end
return { 'ok', now }
