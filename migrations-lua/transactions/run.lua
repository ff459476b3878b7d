--[[
Runs commands on data keys, all of them or none, or refuses with what the service has found. Its keys and
further arguments are those of `batch/run`.

OWN SCRIPT

ARGV
  conditions            the watched keys, the guards and the attempts, as the caller wrote them
  refusal               code of a refusal, or nothing
  key                   of the guard that does not hold
  op                    its comparison
  expected              JSON, its value
  actual                JSON, what the key holds
  watched               JSON, the values of the watched keys
  attempts              how often it was tried
  budget                how many bytes may be read

REPLY
  ok                    results watched:json attempts
  guard_failed          key op expected:json actual:json
  wrong_type            key actual needed operation_index
  transaction_conflict  attempts:json
  result_too_large      most
]]
--- @include "lib/data"
--- @include "lib/data_precheck"

-- The refusal is made here and not by the service, because only the runner knows whether this call has
-- happened before under its idempotency key.
if refusal == 'guard_failed' then
  return { 'guard_failed', key, op, expected, actual }
elseif refusal == 'transaction_conflict' then
  -- Another attempt may find no conflict, so this is not remembered.
  return { 'transaction_conflict', attempts, replayable = false }
end
local unfit = check_data_commands(10, tonumber(budget))
if unfit then
  return unfit
end
-- The check has found no command that fails. One that does all the same leaves the others half done.
local results = run_data_commands(10, math.huge, function(message)
  error(message, 0)
end)

return { 'ok', results, watched, attempts }
