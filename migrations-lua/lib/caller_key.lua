--- @export open_key, change_key, key_json, key_changes

-- The record of a caller's key: the number of the change that made it what it is, when it was made and last used, when
-- it ends (0 for never), when it was revoked (0 if it was not), until when the secret before the last rotation works,
-- and 1 where it is disabled; then digests of the secret and of the one before, and name, scopes and spaces as JSON.
local LAYOUT = '<BddddddB'

-- A revoked key is remembered for 90 days, so that what it did can be put down to somebody.
local REVOKED_TTL_MS = 7776000000

local function decode_key(record_key, text)
  if #text < 50 + 128 then
    fail_corrupt(record_key, 'a key')
  end
  local key, layout_byte, rest = {}
  layout_byte, key.revision, key.created_at, key.used_at, key.expires_at, key.revoked_at, key.previous_until, key.disabled,
    rest = struct.unpack(LAYOUT, text)
  if layout_byte ~= 1 then
    fail_corrupt(record_key, 'a key')
  end
  key.digest, key.previous = text:sub(rest, rest + 63), text:sub(rest + 64, rest + 127)
  key.name, key.scopes, key.spaces = struct.unpack('sss', text, rest + 128)
  return key
end

local function encode_key(_, key)
  local text = struct.pack(LAYOUT, 1, key.revision, key.created_at, key.used_at, key.expires_at, key.revoked_at,
    key.previous_until, key.disabled) .. key.digest .. key.previous .. struct.pack('sss', key.name, key.scopes, key.spaces)
  return text, key.revoked_at > 0 and math.max(key.revoked_at + REVOKED_TTL_MS - now, 1) or nil
end

-- Returns the key under a Redis key, or nil where there is none.
function open_key(record_key)
  return open_record(record_key, decode_key)
end

local function decode_version(version_key, text)
  return { number = tonumber(text:match('^changes:(%d+)$') or '') or fail_corrupt(version_key, 'a number of changes') }
end

local function encode_version(_, version)
  return ('changes:%d'):format(version.number)
end

-- Returns how often keys have changed.
function key_changes(version_key)
  local version = open_record(version_key, decode_version)
  return version and version.number or 0
end

-- Has a key written. `version_key` is the record that counts all changes, by which every process learns of them; nil for
-- what no process has to learn.
function change_key(record_key, key, version_key)
  if version_key then
    local version = open_record(version_key, decode_version) or { number = 0 }
    version.number = version.number + 1
    open_records[version_key] = version
    mark_dirty(version_key, encode_version)
    key.revision = version.number
  end
  open_records[record_key] = key
  mark_dirty(record_key, encode_key)
end

local function moment(ms)
  return ms > 0 and ('%d'):format(ms) or 'null'
end

-- Returns a key as JSON, with instants in milliseconds. `further` are more members.
function key_json(key_id, key, further)
  local state = ('"disabled":%s,"created_at":%d,"expires_at":%s,"last_used_at":%s,"revoked_at":%s,"previous_until":%s'):format(
    key.disabled == 1 and 'true' or 'false', key.created_at, moment(key.expires_at), moment(key.used_at),
    moment(key.revoked_at), moment(key.previous_until > now and key.previous_until or 0))
  return '{"key_id":"' .. key_id .. '","name":' .. key.name .. ',"scopes":' .. key.scopes .. ',"spaces":' .. key.spaces .. ','
    .. state .. (further or '') .. '}'
end
