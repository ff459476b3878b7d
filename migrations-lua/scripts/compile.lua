--[[
Has the server compile a source, and runs nothing of it. It returns the message of the compiler, or nothing.

READ ONLY
INTERNAL

ARGV
  source           of a caller

REPLY
  ok               message
]]

local _, message = loadstring(source, '@user_script')
return { 'ok', message or '' }
