--- @include "lib/amount"
--- @include "lib/expiry"
--- @export decode_account, open_account, new_account, encode_account, mark_account_dirty, take_back_holds, scale_digits, balance_of, available_in

-- The record of an account: JSON with its fields in this order, every amount a string of minor units.
-- Patterns decode and check it, so a record that was made by hand is an error, not money. `next_due` is when
-- the first of its holds ends, 0 where it has none. The holds are a sorted set beside it, with members
-- `remaining:hold_id` scored by the instant at which they end.
local ACCOUNT = '^{"credits":"(%d+)","debits":"(%d+)","held":"(%d+)","next_due":(%d+),"postings":(%d+),"version":(%d+),()"status":"'
local TERMS = '^"status":"([%l_]+)","overdraft_limit":"(%d+)","max_balance":"(%d*)","currency":"(%w+)","scale":(%d+),$'

local STATUSES = ' open closed frozen_debits frozen_credits frozen_both '

local CLOSING_BRACE = ('}'):byte()

-- Many accounts have the same text from `status` to `scale`, so its decoded form is kept by its text.
local known_terms = {}
local known_scales = {} -- by scale: its digits

local function decode_terms(key, text)
  local status, overdraft_limit, max_balance, currency, scale = text:match(TERMS)
  if not status or #overdraft_limit > MAX_DIGITS or #max_balance > MAX_DIGITS
    or not STATUSES:find(' ' .. status .. ' ', 1, true) then
    fail_corrupt(key, 'an account')
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

-- Returns the account that a text stands for.
function decode_account(key, text)
  local credits, debits, held, next_due, postings, version, terms_at = text:match(ACCOUNT)
  local rest_at = credits and text:find('"created_at":', terms_at, true)
  if not rest_at or #credits > MAX_TOTAL_DIGITS or #debits > MAX_TOTAL_DIGITS or #held > MAX_DIGITS
    or text:byte(-1) ~= CLOSING_BRACE then
    fail_corrupt(key, 'an account')
  end
  local terms_text = text:sub(terms_at, rest_at - 1)
  local terms = known_terms[terms_text] or decode_terms(key, terms_text)
  -- They are digits, and to add 0 takes half the time of `tonumber`.
  return {
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
    -- `posting_side` fills these in. They are here so that the table need not grow.
    log = false,
    id = false,
    role = false,
  }
end

-- Takes back the money of holds that have ended: it is free again at that millisecond, for whoever opens the
-- account next. This changes the account in memory only, because a step that is refused writes nothing.
-- Returns true if there are more than one step takes back.
function take_back_holds(account, holds_key)
  local members, more = expired_members(holds_key)
  local amounts = {}
  for i = 1, #members, 2 do
    amounts[#amounts + 1] = members[i]:match('^(%d+):') or fail_corrupt(holds_key, 'holds')
  end
  local freed = total(amounts)
  if net(account.held, '0', freed, '0', '0') < 0 then
    fail_corrupt(holds_key, 'the holds of its account')
  end
  account.held = minus(account.held, freed)
  account.ended_holds, account.holds_key = members, holds_key
  if not more then
    account.next_due = first_expiry_after_now(holds_key)
  end
  return more
end

-- Returns the account under a key, or nil where there is none. A step that needs to know what is held or
-- available gives the key of the account's holds.
function open_account(key, holds_key)
  local account = open_record(key, decode_account)
  if account and holds_key and account.next_due ~= 0 and account.next_due <= now
    and take_back_holds(account, holds_key) then
    require_first('accounts/expire', key, holds_key)
  end
  return account
end

-- Returns the digits of a scale.
function scale_digits(scale)
  local digits = known_scales[scale]
  if not digits then
    digits = ('%d'):format(scale)
    known_scales[scale] = digits
  end
  return digits
end

-- Returns the text of an account. `%d` writes a number in half the time that `..` takes.
function encode_account(_, account)
  if account.held == '0' then
    account.next_due = 0
  end
  if account.ended_holds and #account.ended_holds > 0 then
    -- Holds that have ended are the first of the set, whatever else has come or gone.
    remove_first_members(account.holds_key, account.ended_holds)
  end
  return '{"credits":"' .. account.credits .. '","debits":"' .. account.debits .. '","held":"' .. account.held
    .. '","next_due":' .. (account.next_due == 0 and '0' or ('%d'):format(account.next_due))
    .. (',"postings":%d,"version":%d,"status":"'):format(account.postings, account.version)
    .. account.status .. '","overdraft_limit":"' .. account.overdraft_limit .. '","max_balance":"' .. account.max_balance
    .. '","currency":"' .. account.currency .. '","scale":' .. scale_digits(account.scale) .. ',' .. account.rest .. '}'
end

-- Opens a new account in memory. It is written once something marks it dirty.
function new_account(key, currency, scale, overdraft_limit, max_balance, metadata)
  local account = {
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
  open_records[key] = account
  return account
end

-- Counts the account's version up and has it written.
function mark_account_dirty(key, account)
  account.version = account.version + 1
  mark_dirty(key, encode_account)
end

-- Returns the balance as a decimal.
function balance_of(account)
  return signed_difference(account.scale, account.credits, account.debits)
end

-- Returns what can be spent as a decimal: the balance without what is held, with the overdraft limit.
function available_in(account)
  return signed_decimal(account.scale, net(account.credits, account.overdraft_limit, account.debits, account.held, '0'))
end
