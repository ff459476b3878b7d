--[[
Returns the policies that the previous page named, and the names of the next page.

READ ONLY

KEYS
  index_key         zset    the space's policies
  * policy_key      record  policy

ARGV
  after             name to go on after, or nothing to begin
  count             how many names to return
  * policy          id

REPLY
  ok                policies:json next
]]
--- @include "lib/policy"
--- @include "lib/index_page"

local policies = {}
for i = 1, line_count() do
  local record = open_policy((keys_of_line(i)))
  -- One that was deleted in between is left out.
  policies[#policies + 1] = record and policy_json((args_of_line(i)), record)
end
return { 'ok', policies, ids_after(index_key, after, count) }
