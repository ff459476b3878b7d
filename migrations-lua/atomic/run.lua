--[[
Run several operations, of which all happen or none does. Their keys are these keys, in their order.

RUNS OPERATIONS

ARGV
  dry_run          whether none happens in any case: true or false
  * name           of an operation
  * key_count      how many keys it has
  * arg_count      how many arguments it has, which follow

REPLY
  ok               replies
]]

local dry_run = unpack(args)

local replies, refusal = {}, nil
local key, arg = 0, 1
while arg < #args and not refusal do
  local name, key_count, arg_count = unpack(args, arg + 1, arg + 3)
  local reply = operations[name](
    { unpack(keys, key + 1, key + key_count) },
    { unpack(args, arg + 4, arg + 3 + arg_count) }
  )
  key, arg = key + key_count, arg + 3 + arg_count
  replies[#replies + 1] = reply
  refusal = reply[1] ~= 'ok' and reply
end
if refusal or dry_run == 'true' then
  forget_changes()
end

return { 'ok', replies, forget = refusal and refusal.forget or nil }
