--[[
Notes when keys were last used. A repeat changes nothing.

INTERNAL

KEYS
  * key_record       record  key

ARGV
  * used_at          minute in milliseconds

REPLY
  ok                 noted
]]
--- @include "lib/caller_key"

local noted = 0
for i = 1, line_count() do
  local record_key = keys_of_line(i)
  local key, minute = open_key(record_key), tonumber((args_of_line(i)))
  if key and key.used_at < minute then
    key.used_at = minute
    change_key(record_key, key)
    noted = noted + 1
  end
end
return { 'ok', noted }
