--[[
Runs commands on data keys, each on its own. Its keys are theirs, in their order. Its further arguments are,
for each command, the command, how many arguments it has after its key, and those.

OWN SCRIPT

ARGV
  whole          digest of the whole call, of which these commands are a part
  budget         how many bytes may be read

REPLY
  ok             results
]]
--- @include "lib/data"

return { 'ok', run_data_commands(3, tonumber(budget)) }
