--[[
Reads data keys. All its keys are data keys.

READ ONLY

ARGV
  budget             how many bytes may be read

REPLY
  ok                 values
  result_too_large   most:json
]]

-- Keys are read in parts, so that far too much is never read at once.
local PART = 50

local values, read = {}, 0
for from = 1, key_count, PART do
  local last = math.min(from + PART - 1, key_count)
  local part = redis.call('MGET', unpack(KEYS, first_key + from, first_key + last))
  for i = 1, #part do
    values[#values + 1] = part[i]
    read = read + (part[i] and #part[i] or 0)
  end
  if read > tonumber(budget) then
    return { 'result_too_large', budget }
  end
end

return { 'ok', values }
