--[[
Run commands over plain data keys, each for itself. The keys are theirs, in their order; the arguments are
of each command its word, how many arguments it has after its key, and those.

ALONE

ARGV
  whole          what tells the call of which these are a part from others
  budget         how many bytes may be read

REPLY
  ok             results
]]
--- @include "lib/data"

local whole, budget = unpack(args)

return { 'ok', run_all_data(keys, args, 3, tonumber(budget)) }
