--- @include "lib/amount"
--- @include "lib/due"

-- An account as it is kept: JSON with its fields in this order, every amount a string of minor units.
-- Patterns decode it and check it, so a record that was made by hand is an error, not money.
-- `next_due` is when the first of its holds ends, 0 where it has none; the holds are a sorted set
-- beside it, `remaining:hold_id` scored by the instant they end.
local ACCOUNT = '^{"credits":"(%d+)","debits":"(%d+)","held":"(%d+)","next_due":(%d+),"postings":(%d+),"version":(%d+),()"status":"'
local TERMS = '^"status":"([%l_]+)","overdraft_limit":"(%d+)","max_balance":"(%d*)","currency":"(%w+)","scale":(%d+),$'

local STATUSES = ' open closed frozen_debits frozen_credits frozen_both '

local CLOSING_BRACE = ('}'):byte()

-- From its status to its scale one account is like the next, so what that part says is kept by its text.
local known_terms = {}
local scales = {} -- the digits of each scale

local function decode_terms(key, text)
  local status, overdraft_limit, max_balance, currency, scale = text:match(TERMS)
  if not status or #overdraft_limit > MAX_DIGITS or #max_balance > MAX_DIGITS
    or not STATUSES:find(' ' .. status .. ' ', 1, true) then
    broken(key, 'an account')
  end
  local terms = {
    status = status,
    overdraft_limit = overdraft_limit,
    max_balance = max_balance,
    currency = currency,
    scale = tonumber(scale),
  }
  known_terms[text] = terms
  return terms
end

local function decode_account(key, text)
  local credits, debits, held, next_due, postings, version, terms_at = text:match(ACCOUNT)
  local rest_at = credits and text:find('"created_at":', terms_at, true)
  if not rest_at or #credits > MAX_TOTAL_DIGITS or #debits > MAX_TOTAL_DIGITS or #held > MAX_DIGITS
    or text:byte(-1) ~= CLOSING_BRACE then
    broken(key, 'an account')
  end
  local terms_text = text:sub(terms_at, rest_at - 1)
  local terms = known_terms[terms_text] or decode_terms(key, terms_text)
  -- They are digits, and to add 0 takes half the time of `tonumber`.
  local known = {
    credits = credits,
    debits = debits,
    held = held,
    next_due = next_due == '0' and 0 or next_due + 0,
    postings = postings + 0,
    version = version + 0,
    status = terms.status,
    overdraft_limit = terms.overdraft_limit,
    max_balance = terms.max_balance,
    currency = terms.currency,
    scale = terms.scale,
    rest = text:sub(rest_at, -2),
    key = key,
    -- What a posting says of it, see `side`; with these, the table need not grow.
    log = false,
    id = false,
    role = false,
  }
  live[key] = known
  return known
end

-- Money whose hold has ended is free again at that millisecond, for whoever opens the account next.
-- It is taken back in memory only: a step that is refused writes nothing, not even this. Answers
-- whether there is more of it.
local function take_holds_back(it, holds_key)
  local due = redis.call('ZRANGEBYSCORE', holds_key, '-inf', now, 'LIMIT', 0, DUE_AT_ONCE + 1)
  local more = #due > DUE_AT_ONCE
  local amounts = {}
  for i = 1, math.min(#due, DUE_AT_ONCE) do
    amounts[i] = due[i]:match('^(%d+):') or broken(holds_key, 'holds')
  end
  local freed = total(amounts)
  if net(it.held, '0', freed, '0', '0') < 0 then
    broken(holds_key, 'the holds of its account')
  end
  it.held = minus(it.held, freed)
  it.ended, it.holds_key = (it.ended or 0) + #amounts, holds_key
  if not more then
    local next = redis.call('ZRANGEBYSCORE', holds_key, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    it.next_due = tonumber(next[2] or 0)
  end
  return more
end

-- The account under a key, or nil where there is none. Whoever looks at what is held of it, or
-- available in it, gives the key of its holds.
local function account(key, holds_key)
  local it = live[key]
  if not it then
    local text = stored(key)
    if not text then
      return nil
    end
    it = decode_account(key, text)
  end
  if holds_key and it.next_due ~= 0 and it.next_due <= now and take_holds_back(it, holds_key) then
    first('accounts/expire', key, holds_key)
  end
  return it
end

local function scale_digits(scale)
  local digits = scales[scale]
  if not digits then
    digits = ('%d'):format(scale)
    scales[scale] = digits
  end
  return digits
end

-- `%d` writes a number in half the time that `..` takes.
local function encode_account(_, it)
  if it.held == '0' then
    it.next_due = 0
  end
  if (it.ended or 0) > 0 then
    -- Those that have ended are the first of the set, whatever else has come or gone.
    queued[#queued + 1] = { 'ZREMRANGEBYRANK', it.holds_key, 0, it.ended - 1 }
  end
  return '{"credits":"' .. it.credits .. '","debits":"' .. it.debits .. '","held":"' .. it.held
    .. '","next_due":' .. (it.next_due == 0 and '0' or ('%d'):format(it.next_due))
    .. (',"postings":%d,"version":%d,"status":"'):format(it.postings, it.version)
    .. it.status .. '","overdraft_limit":"' .. it.overdraft_limit .. '","max_balance":"' .. it.max_balance
    .. '","currency":"' .. it.currency .. '","scale":' .. scale_digits(it.scale) .. ',' .. it.rest .. '}'
end

-- Opens a new account in memory; whoever changes it next has it written.
local function new_account(key, currency, scale, overdraft_limit, max_balance, metadata)
  live[key] = {
    credits = '0',
    debits = '0',
    held = '0',
    next_due = 0,
    postings = 0,
    version = 0,
    status = 'open',
    overdraft_limit = overdraft_limit,
    max_balance = max_balance,
    currency = currency,
    scale = tonumber(scale),
    rest = '"created_at":' .. now .. ',"metadata":' .. metadata,
    key = key,
  }
  return live[key]
end

local function change_account(key, it)
  it.version = it.version + 1
  change(key, encode_account)
end

local function balance_of(it)
  return signed_difference(it.scale, it.credits, it.debits)
end

local function available_in(it)
  return signed_decimal(it.scale, net(it.credits, it.overdraft_limit, it.debits, it.held, '0'))
end
