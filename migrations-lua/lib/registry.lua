--- @export open_script, change_script, script_version, script_slot, script_json, version_json, MAX_SCRIPT_VERSIONS

-- The record of a script in the registry: how often it was changed, the version that runs, the newest one, the
-- moment of the last change, and the SHA-256 of each version that is kept, the newest first. The versions
-- themselves stand in a hash. A version has the field that its number gives it, so that a new one takes the place
-- of the oldest.
local LAYOUT = '<Bdddd'
MAX_SCRIPT_VERSIONS = 20

local function decode_script(key, text)
  if #text < 33 + 64 or (#text - 33) % 64 ~= 0 then
    fail_corrupt(key, 'a script')
  end
  local script, layout_byte, rest = {}
  layout_byte, script.version, script.active, script.latest, script.updated_at, rest = struct.unpack(LAYOUT, text)
  script.digests = text:sub(rest)
  if layout_byte ~= 1 or #script.digests ~= 64 * math.min(script.latest, MAX_SCRIPT_VERSIONS) then
    fail_corrupt(key, 'a script')
  end
  return script
end

local function encode_script(_, script)
  return struct.pack(LAYOUT, 1, script.version, script.active, script.latest, script.updated_at) .. script.digests
end

-- Returns the script under a key, or nil where there is none.
function open_script(key)
  return open_record(key, decode_script)
end

-- Has a script written with its next revision.
function change_script(key, script)
  script.version, script.updated_at = script.version + 1, now
  open_records[key] = script
  mark_dirty(key, encode_script)
end

-- Returns the field of a version in the hash of its script.
function script_slot(version)
  return ('%d'):format(version % MAX_SCRIPT_VERSIONS)
end

-- Returns what is known of a version as JSON, and its source; nothing where it is not kept.
function script_version(versions_key, script, version)
  if version < 1 or version > script.latest or version <= script.latest - MAX_SCRIPT_VERSIONS then
    return
  end
  local text = redis.call('HGET', versions_key, script_slot(version))
  local start = ('{"version":%d,'):format(version)
  local json_end = text and text:find('\n', 1, true)
  if not json_end or text:sub(1, #start) ~= start then
    fail_corrupt(versions_key, 'version ' .. version)
  end
  return text:sub(1, json_end - 1), text:sub(json_end + 1)
end

-- Returns the text of a version as the hash has it. `details` are its further members as JSON.
function version_json(version, details, source)
  return ('{"version":%d,"created_at":%d,'):format(version, now) .. details .. '}\n' .. source
end

-- Returns a script as the JSON that callers read.
function script_json(name, script, details)
  return ('{"name":"%s","revision":%d,"active":%d,"latest":%d,"updated_at":%d,"details":%s}'):format(
    name, script.version, script.active, script.latest, script.updated_at, details)
end
