--[[
Run commands over plain data keys, each for itself. The keys are theirs, in their order; the arguments are
of each command its word, how many arguments it has after its key, and those.

ALONE

REPLY
  ok             results
]]
--- @include "lib/data"

return { 'ok', run_all_data(keys, args, 1) }
