--[[
The first format. There is no data before it, so it changes nothing.
]]
