--[[
Read plain data keys: all keys are.

READ ONLY

REPLY
  ok             values
]]

return { 'ok', redis.call('MGET', unpack(keys)) }
