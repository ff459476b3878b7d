--[[
Returns the scripts that the previous page named, and the names of the next page.

READ ONLY

KEYS
  index_key         zset    the space's scripts
  * script_key      record  script
  * versions_key    hash    versions of the script

ARGV
  after             name to go on after, or nothing to begin
  count             how many names to return
  * name            id

REPLY
  ok                scripts:json next
]]
--- @include "lib/registry"
--- @include "lib/index_page"

local scripts = {}
for i = 1, line_count() do
  local script_key, versions_key = keys_of_line(i)
  local script = open_script(script_key)
  -- One that was deleted in between is left out.
  if script then
    scripts[#scripts + 1] = script_json((args_of_line(i)), script, (script_version(versions_key, script, script.active)))
  end
end
return { 'ok', scripts, ids_after(index_key, after, count) }
