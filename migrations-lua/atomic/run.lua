--[[
Runs several operations, of which all happen or none does. Its keys are theirs, in their order.

RUNS OPERATIONS

ARGV
  dry_run          true to write nothing, or false
  * name           of an operation
  * key_count      how many keys it has
  * arg_count      how many arguments it has, which follow

REPLY
  ok               replies
]]

local args_end = first_arg + arg_count
local key, arg = first_key, first_arg + 1
local replies, refusal = {}, nil
while arg < args_end and not refusal do
  local name, keys, args = ARGV[arg + 1], tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 3])
  local reply = run_operation(name, key, keys, arg + 3, args)
  key, arg = key + keys, arg + 3 + args
  replies[#replies + 1] = reply
  refusal = reply[1] ~= 'ok' and reply
end
if refusal or dry_run == 'true' then
  rollback()
end

local result = { 'ok', replies }
if refusal then
  result.replayable = refusal.replayable
end
return result
