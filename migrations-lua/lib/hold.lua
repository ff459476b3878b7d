--- @include "lib/account"
--- @export open_hold, encode_hold, remaining_of, hold_json, check_hold_open, add_to_holds, remove_from_holds, open_payer

-- The record of a hold, packed as an account is: its version byte, status, decimals, the instants at which it
-- expires and was placed, amounts, texts, and last its metadata as JSON. It is kept 7 days after it ends, so that a
-- late call learns how it ended. The amounts captured, released and left to expire add up to that of the hold.
local NARROW = '<BBBI6I6dddssss'
local WIDE = '<BBBI6I6sssssss'
local KEPT_AFTER_END_MS = 7 * 24 * 3600 * 1000

local STATUSES = { 'open', 'captured', 'released' }
local STATUS_CODES = { open = 1, captured = 2, released = 3 }

-- Returns the text of a hold and its time to live.
function encode_hold(_, hold)
  local format, layout_byte, amount, captured, released = NARROW, 1, hold.amount, hold.captured, hold.released
  if amount + captured + released >= SMALL then
    format, layout_byte, amount, captured, released = WIDE, 2, digits_of(amount), digits_of(captured), digits_of(released)
  end
  local text = struct.pack(format, layout_byte, STATUS_CODES[hold.status], hold.scale, hold.expires_at, hold.created_at, amount,
    captured, released, hold.from_account, hold.to_account, hold.currency, hold.description) .. hold.metadata
  return text, hold.expires_at - now + KEPT_AFTER_END_MS
end

local function decode_hold(key, text)
  local hold, layout_byte, status, at = {}, text:byte(1), nil, nil
  if (layout_byte == 1 or layout_byte == 2) and #text > 24 then
    layout_byte, status, hold.scale, hold.expires_at, hold.created_at, hold.amount, hold.captured, hold.released,
      hold.from_account, hold.to_account, hold.currency, hold.description,
      at = struct.unpack(layout_byte == 1 and NARROW or WIDE, text)
  end
  hold.status = STATUSES[status]
  if layout_byte == 2 then
    hold.amount, hold.captured, hold.released = amount_of(hold.amount), amount_of(hold.captured), amount_of(hold.released)
  end
  -- A number that is none fails every comparison.
  local is_hold = hold.status and sign_of_net(hold.amount, 0, hold.captured, hold.released, 0) >= 0
  if not is_hold then
    fail_corrupt(key, 'a hold')
  end
  if hold.status == 'open' and hold.expires_at <= now then
    hold.status = 'expired'
  end
  hold.metadata = text:sub(at)
  return hold
end

-- Returns the hold under a key, or nil where there is none. Nothing has to run at its end: the clock ends it.
function open_hold(key)
  return open_record(key, decode_hold)
end

-- Returns the part of a hold that was neither captured nor released: it is still held, or it has expired.
function remaining_of(hold)
  return (net(hold.amount, 0, hold.captured, hold.released, 0))
end

-- Returns a hold as the JSON that callers read, with instants in milliseconds.
function hold_json(hold_id, hold)
  local remaining, scale = remaining_of(hold), hold.scale
  local expired = hold.status == 'expired'
  return '{"hold_id":"' .. hold_id .. '","status":"' .. hold.status .. '","from_account":"' .. hold.from_account
    .. '","to_account":"' .. hold.to_account .. '","currency":"' .. hold.currency
    .. '","amount":"' .. decimal(hold.amount, scale) .. '","captured":"' .. decimal(hold.captured, scale)
    .. '","released":"' .. decimal(hold.released, scale) .. '","expired":"' .. decimal(expired and remaining or 0, scale)
    .. '","remaining":"' .. decimal(expired and 0 or remaining, scale) .. '","expires_at":' .. hold.expires_at
    .. ',"created_at":' .. hold.created_at .. ',"description":' .. hold.description .. ',"metadata":' .. hold.metadata .. '}'
end

-- Refuses a hold that has ended, and returns nil for one that can be captured, released or extended.
function check_hold_open(hold_id, hold)
  if hold.status == 'open' then
    return nil
  end
  if hold.status == 'expired' then
    return { 'hold_expired', hold_id, hold.expires_at }
  end
  return { 'hold_closed', hold_id, hold.status }
end

-- Adds a hold to the set of its account: `remaining` of it until `expires_at`. `old_expires_at` is its score
-- where the same amount of it is in the set already.
function add_to_holds(payer, payer_key, holds_key, hold_id, remaining, expires_at, old_expires_at)
  if payer.next_due == 0 or expires_at < payer.next_due then
    payer.next_due = expires_at
  end
  add_member(holds_key, expires_at, digits_of(remaining) .. ':' .. hold_id, old_expires_at)
  mark_account_dirty(payer_key, payer)
end

-- Removes a hold, of which `remaining` was held until `expires_at`, from the set of its account.
function remove_from_holds(holds_key, hold_id, remaining, expires_at)
  remove_member(holds_key, expires_at, digits_of(remaining) .. ':' .. hold_id)
end

-- Returns the account whose money an open hold holds; nil where the set of holds does not have the hold. Then its
-- money has been taken back by a clock that was ahead, and has been set back since.
function open_payer(hold, hold_id, account_key, holds_key)
  local payer = open_account(account_key, holds_key) or fail_corrupt(account_key, 'the account of ' .. hold_id)
  if not hold.is_in_set then
    if not redis.call('ZSCORE', holds_key, digits_of(remaining_of(hold)) .. ':' .. hold_id) then
      return nil
    end
    hold.is_in_set = true
  end
  return payer
end
