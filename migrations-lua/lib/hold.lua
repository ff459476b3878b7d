--- @include "lib/account"

-- A hold as it is kept: a week longer than it holds anything, so that who comes late is told its end.
-- What it has captured, released and let expire adds up to its amount.
local HOLD = '^{"status":"(%l+)","amount":"(%d+)","captured":"(%d+)","released":"(%d+)","from_account":"([%w._:@-]+)",'
  .. '"to_account":"([%w._:@-]+)","currency":"(%w+)","scale":(%d+),"expires_at":(%d+),(.*)}$'
local HOLD_REMEMBERED_MS = 7 * 24 * 3600 * 1000

local function encode_hold(_, it)
  local text = '{"status":"' .. it.status .. '","amount":"' .. it.amount .. '","captured":"' .. it.captured
    .. '","released":"' .. it.released .. '","from_account":"' .. it.from_account .. '","to_account":"' .. it.to_account
    .. '","currency":"' .. it.currency .. '","scale":' .. it.scale .. ',"expires_at":' .. it.expires_at .. ',' .. it.rest .. '}'
  return text, it.expires_at - now + HOLD_REMEMBERED_MS
end

-- The hold under a key, or nil where there is none. Nothing has to run at its end: the clock ends it.
local function hold(key)
  local known = live[key]
  if known then
    return known
  end
  local text = stored(key)
  if not text then
    return nil
  end
  local status, amount, captured, released, from_account, to_account, currency, scale, expires_at, rest = text:match(HOLD)
  if not status or #amount > MAX_DIGITS or #captured > MAX_DIGITS or #released > MAX_DIGITS
    or net(amount, '0', captured, released, '0') < 0 then
    broken(key, 'a hold')
  end
  known = {
    status = status,
    amount = amount,
    captured = captured,
    released = released,
    from_account = from_account,
    to_account = to_account,
    currency = currency,
    scale = tonumber(scale),
    expires_at = tonumber(expires_at),
    rest = rest,
  }
  if status == 'open' and known.expires_at <= now then
    known.status = 'expired'
  end
  live[key] = known
  return known
end

-- What neither a capture nor a release has taken from it: still set aside, or expired.
local function left_of(it)
  return digits_of(net(it.amount, '0', it.captured, it.released, '0'))
end

local function hold_json(hold_id, it)
  local left, scale = left_of(it), it.scale
  local expired = it.status == 'expired'
  return '{"hold_id":"' .. hold_id .. '","status":"' .. it.status .. '","from_account":"' .. it.from_account
    .. '","to_account":"' .. it.to_account .. '","currency":"' .. it.currency
    .. '","amount":"' .. decimal(it.amount, scale) .. '","captured":"' .. decimal(it.captured, scale)
    .. '","released":"' .. decimal(it.released, scale) .. '","expired":"' .. decimal(expired and left or '0', scale)
    .. '","remaining":"' .. decimal(expired and '0' or left, scale) .. '","expires_at":' .. it.expires_at .. ',' .. it.rest .. '}'
end

-- Why a hold can be neither captured nor released nor extended, or nil where it can.
local function hold_ended(hold_id, it)
  if it.status == 'open' then
    return nil
  end
  if it.status == 'expired' then
    return { 'hold_expired', hold_id, it.expires_at }
  end
  return { 'hold_closed', hold_id, it.status }
end

-- Changes what the set of an account's holds has of one: `left` of it until `expires_at`.
local function set_money_aside(payer, payer_key, holds_key, hold_id, left, expires_at)
  if payer.next_due == 0 or expires_at < payer.next_due then
    payer.next_due = expires_at
  end
  queued[#queued + 1] = { 'ZADD', holds_key, expires_at, left .. ':' .. hold_id }
  change_account(payer_key, payer)
end

local function no_longer_aside(holds_key, hold_id, left)
  queued[#queued + 1] = { 'ZREM', holds_key, left .. ':' .. hold_id }
end

-- Opens the payer of an open hold.
local function payer_of(it, hold_id, account_key, holds_key)
  local payer = account(account_key, holds_key) or broken(account_key, 'the account of ' .. hold_id)
  if not it.seen then
    -- A look at the set tells now, before anything is written, that it is one and has the hold.
    if not redis.call('ZSCORE', holds_key, left_of(it) .. ':' .. hold_id) then
      broken(holds_key, hold_id)
    end
    it.seen = true
  end
  return payer
end
