--[[
Runs a script of a caller's own. Its keys are data keys of the space, and its further arguments those of the script.

OWN SCRIPT

ARGV
  name             of the script
  asked_version    the version that the caller asked for, or nothing
  version          the version that runs
  prefix           of the data keys of the space
  last_line        number of the last line of the caller's source in this script
  collects         1 to end the keys that are written in a minute and return them, or 0

REPLY
  ok               version written result
  script_error     name kind line source_line message effects
  key_not_allowed  name line command key effects
]]
--- @include "lib/sandbox"

local keys, args = {}, {}
for i = 1, key_count do
  keys[i] = KEYS[first_key + i]
end
for i = 1, arg_count - 6 do
  args[i] = ARGV[first_arg + 6 + i]
end

local written, is_known, on_write = {}, {}, nil
if collects == '1' then
  on_write = function(key)
    if not is_known[key] then
      is_known[key], written[#written + 1] = true, key
    end
  end
end
local reply = run_user_chunk(name, prefix, tonumber(last_line), keys, args, on_write)
for i = 1, #written do
  queue_cleanup('PEXPIRE', written[i], 60000)
end
if reply[1] == 'ok' then
  return { 'ok', version, written, reply[2] }
end
return reply
