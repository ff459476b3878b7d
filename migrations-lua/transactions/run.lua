--[[
Run commands over plain data keys that have been found fit for them, or say which guard failed. It is
what EXEC runs. Keys, and the arguments after the first ones, are those of `batch/run`.

ALONE

ARGV
  conditions     what is watched and asked, as the caller wrote it
  guard          JSON, what has failed: key, op, expected and actual; or null
  watched        JSON, what was seen before
  attempts       how often it was tried

REPLY
  ok             results watched:json attempts
  guard_failed   key op expected:json actual:json
]]
--- @include "lib/data"

local conditions, guard, watched, attempts = unpack(args)

if guard ~= 'null' then
  local failed = cjson.decode(guard)
  return { 'guard_failed', failed.key, failed.op, cjson.encode(failed.expected), cjson.encode(failed.actual) }
end

return { 'ok', run_all_data(keys, args, 5), watched, attempts }
