--[[
Run commands over plain data keys, all of them or none; or say why nothing may happen. Keys, and the
arguments after the first ones, are those of `batch/run`.

ALONE

ARGV
  conditions            what is watched and asked and how often it is tried, as the caller wrote it
  refusal               JSON, what has been found before: the word of a refusal, and its fields; or null
  watched               JSON, what was seen before
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
--- @include "lib/data_fitness"

local conditions, refusal, watched, attempts, budget = unpack(args)

-- This is the place to refuse, and not before: the frame has seen by now whether it happened already.
if refusal ~= 'null' then
  local it = cjson.decode(refusal)
  if it.word == 'guard_failed' then
    return { it.word, it.key, it.op, cjson.encode(it.expected), cjson.encode(it.actual) }
  end
  -- Another try may find nobody else, so this is not remembered.
  return { 'transaction_conflict', attempts, forget = true }
end
local unfit = unfit_command(keys, args, 6, tonumber(budget))
if unfit then
  return unfit
end

return { 'ok', run_all_data(keys, args, 6, math.huge), watched, attempts }
