--- @export with_actor, split_actor

-- Returns JSON with the caller's key behind it. JSON has no control characters, so byte 1 stands between the two.
--- @lazy
function with_actor(json)
  return json .. '\1' .. acting_key
end

-- Returns JSON without the key behind it, and that key as further members of an object; nothing of them where there is
-- no key.
--- @lazy
function split_actor(text)
  local at = text:find('\1', 1, true)
  if not at then
    return text, ''
  end
  local blank = text:find(' ', at, true)
  return text:sub(1, at - 1), ',"actor":"' .. text:sub(at + 1, blank - 1) .. '","actor_name":' .. text:sub(blank + 1)
end
