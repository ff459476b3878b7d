--[[
Writes data keys, all in one step. All its keys are data keys, and its further arguments are their values.

OWN SCRIPT

ARGV
  ttl_ms         how long they last, or nothing

REPLY
  ok             written
]]
--- @include "lib/data"

for i = 1, key_count do
  local data_key, value = KEYS[first_key + i], ARGV[first_arg + i + 1]
  local result
  if ttl_ms == '' then
    result = run_data_command(data_key, 'SET', value)
  else
    result = run_data_command(data_key, 'SET', value, 'PX', ttl_ms)
  end
  if result[1] == 'error' then
    error(result[2], 0)
  end
end

return { 'ok', key_count }
