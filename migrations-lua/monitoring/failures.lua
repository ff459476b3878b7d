--[[
Returns the newest failures of all processes, the newest first.

INTERNAL
READ ONLY

KEYS
  failures_key   zset    newest failures of all processes

ARGV
  most           how many to return

REPLY
  ok             failures
]]

return { 'ok', redis.call('ZRANGE', failures_key, 0, most - 1, 'REV') }
