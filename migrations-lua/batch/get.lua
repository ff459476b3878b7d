--[[
Read plain data keys: all keys are.

READ ONLY

ARGV
  budget             how many bytes may be read

REPLY
  ok                 values
  result_too_large   most:json
]]

local budget = unpack(args)

-- In parts, so that what is far too much is not read first.
local PART = 50

local values, read = {}, 0
for from = 1, #keys, PART do
  local part = redis.call('MGET', unpack(keys, from, math.min(from + PART - 1, #keys)))
  for i = 1, #part do
    values[#values + 1] = part[i]
    read = read + (part[i] and #part[i] or 0)
  end
  if read > tonumber(budget) then
    return { 'result_too_large', budget }
  end
end

return { 'ok', values }
