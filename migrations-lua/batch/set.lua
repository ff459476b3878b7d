--[[
Write plain data keys, all in one step. All keys are, and the arguments after the first are their values.

ALONE

ARGV
  ttl_ms         how long they last, or nothing

REPLY
  ok             written
]]
--- @include "lib/data"

local ttl_ms = unpack(args)

for i = 1, #keys do
  local data_key = unpack(keys, i)
  local value = unpack(args, i + 1)
  local result
  if ttl_ms == '' then
    result = run_data(data_key, 'SET', value)
  else
    result = run_data(data_key, 'SET', value, 'PX', ttl_ms)
  end
  if result[1] == 'error' then
    error(result[2], 0)
  end
end

return { 'ok', #keys }
