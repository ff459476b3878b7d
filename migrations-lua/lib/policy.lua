--- @export open_policy, change_policy, policy_json, policy_rule

-- The record of a policy: its version, the moment of its last change, its rule in the numbers that the algorithms
-- count with, and then the rule as the JSON that callers read. `shadow` is 1 for a policy that only counts.
local LAYOUT = '<BddBddddB'

local function decode_policy(key, text)
  if #text < 52 then
    fail_corrupt(key, 'a policy')
  end
  local policy, layout_byte, rest = {}
  layout_byte, policy.version, policy.updated_at, policy.code, policy.limit, policy.a, policy.b, policy.window_ms, policy.shadow,
    rest = struct.unpack(LAYOUT, text)
  if layout_byte ~= 1 then
    fail_corrupt(key, 'a policy')
  end
  policy.rule_json = text:sub(rest)
  return policy
end

local function encode_policy(_, policy)
  return struct.pack(LAYOUT, 1, policy.version, policy.updated_at, policy.code, policy.limit, policy.a, policy.b,
    policy.window_ms, policy.shadow) .. policy.rule_json
end

-- Returns the policy under a key, or nil where there is none.
function open_policy(key)
  return open_record(key, decode_policy)
end

-- Gives a policy its next version and has it written.
function change_policy(key, policy)
  policy.version, policy.updated_at = policy.version + 1, now
  open_records[key] = policy
  mark_dirty(key, encode_policy)
end

-- Returns a policy as the JSON that callers read, with instants in milliseconds.
function policy_json(name, policy)
  return ('{"policy":"%s","version":%d,"updated_at":%d,"rule":%s}'):format(name, policy.version, policy.updated_at, policy.rule_json)
end

-- Returns the rule that a call names or brings with it, and nil where it names a policy that does not exist.
function policy_rule(policy_name, policy_key, code, limit, a, b, window_ms)
  if policy_name ~= '' then
    return open_policy(policy_key)
  end
  return {
    code = tonumber(code), limit = tonumber(limit), a = tonumber(a), b = tonumber(b), window_ms = tonumber(window_ms),
    shadow = 0,
  }
end
