--[[
Returns the calls of minutes and hours: of each, the fields and windows that processes have stored.

INTERNAL
READ ONLY

KEYS
  * window_key   hash    calls of a minute or an hour

REPLY
  ok             now_ms windows
]]

local windows = {}
for i = 1, line_count() do
  windows[i] = redis.call('HGETALL', (keys_of_line(i)))
end
return { 'ok', now, windows }
