--[[
Returns keys for the check of calls, and the ids of the next page.

INTERNAL
READ ONLY

KEYS
  index_key          zset    ids of all keys that are not revoked
  * key_record       record  key

ARGV
  after              id to go on after, or nothing to begin
  count              how many ids to return
  * key_id           id

REPLY
  ok                 keys:json next
]]
--- @include "lib/caller_key"
--- @include "lib/index_page"

local keys = {}
for i = 1, line_count() do
  local key = open_key((keys_of_line(i)))
  keys[#keys + 1] = key and key_json(args_of_line(i), key,
    (',"digest":"%s","previous":"%s","revision":%d'):format(key.digest, key.previous, key.revision))
end
return { 'ok', keys, ids_after(index_key, after, count) }
