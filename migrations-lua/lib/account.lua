--- @include "lib/amount"
--- @include "lib/expiry"
--- @export decode_account, open_account, new_account, encode_account, mark_account_dirty, take_back_holds, balance_of, available_in

-- The record of an account, packed: its version byte, numbers, its currency and its metadata as JSON. The
-- first layout has amounts as numbers; the second one has them as digits, where one of them is 10^15 or more.
-- `next_due` is when the first of its holds ends, 0 where it has none; the holds are a sorted set beside it,
-- with members `remaining:hold_id` scored by the instant at which they end. `max_balance` is nil for none.
local NARROW = '<BBBddddddddds'
local WIDE = '<BBBddddssssss'
-- The same with the rest of the text, for packing.
local WHOLE_NARROW = '<BBBdddddddddsc0'
local WHOLE_WIDE = '<BBBddddssssssc0'

local OPEN = 1

-- Returns the status that a code in a record stands for, or nil.
--- @lazy
local function status_of(code)
  return ({ 'open', 'closed', 'frozen_debits', 'frozen_credits', 'frozen_both' })[code]
end

-- Returns the code of a status.
--- @lazy
local function code_of(status)
  return ({ open = 1, closed = 2, frozen_debits = 3, frozen_credits = 4, frozen_both = 5 })[status]
end

-- The shortest text of each layout.
local MIN_NARROW = 77
local MIN_WIDE = 44

-- Returns the account that a text stands for.
function decode_account(key, text)
  local layout_byte, _ = text:byte(1), nil
  local status, scale, next_due, postings, version, created_at, credits, debits, held, overdraft_limit, max_balance, currency, at
  if layout_byte == 1 and #text >= MIN_NARROW then
    _, status, scale, next_due, postings, version, created_at, credits, debits, held, overdraft_limit, max_balance,
      currency, at = struct.unpack(NARROW, text)
    if max_balance < 0 then
      max_balance = nil
    end
  elseif layout_byte == 2 and #text >= MIN_WIDE then
    _, status, scale, next_due, postings, version, created_at, credits, debits, held, overdraft_limit, max_balance,
      currency, at = struct.unpack(WIDE, text)
    credits, debits, held, overdraft_limit = amount_of(credits), amount_of(debits), amount_of(held), amount_of(overdraft_limit)
    max_balance = max_balance ~= '' and amount_of(max_balance) or nil
  end
  status = status == OPEN and 'open' or status_of(status)
  -- A number that is none fails every comparison.
  local is_account = status and credits + debits + held + overdraft_limit >= 0
  if not is_account then
    fail_corrupt(key, 'an account')
  end
  -- One constructor, because a table that grows is copied; and of 16 fields, because one more takes room for 32.
  return {
    status = status,
    scale = scale,
    next_due = next_due,
    postings = postings,
    version = version,
    created_at = created_at,
    credits = credits,
    debits = debits,
    held = held,
    overdraft_limit = overdraft_limit,
    max_balance = max_balance,
    currency = currency,
    metadata = text:sub(at),
    key = key,
    -- `posting_side` fills these in.
    log = false,
    id = false,
  }
end

-- Takes back the money of holds that have ended: it is free again at that millisecond, for whoever opens the
-- account next. This changes the account in memory only, because a step that is refused writes nothing.
-- Returns true if there are more than one step takes back.
--- @lazy
function take_back_holds(account, holds_key)
  local members, more = expired_members(holds_key)
  local amounts = {}
  for i = 1, #members, 2 do
    amounts[#amounts + 1] = amount_of(members[i]:match('^(%d+):') or fail_corrupt(holds_key, 'holds'))
  end
  local freed = total(amounts)
  if sign_of_net(account.held, 0, freed, 0, 0) < 0 then
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

-- Returns the text of an account.
function encode_account(_, account)
  if account.held == 0 then
    account.next_due = 0
  end
  if account.ended_holds and #account.ended_holds > 0 then
    -- Holds that have ended are the first of the set, whatever else has come or gone.
    remove_first_members(account.holds_key, account.ended_holds)
  end
  local status, max_balance = account.status, account.max_balance
  status = status == 'open' and OPEN or code_of(status)
  if account.credits + account.debits + account.held + account.overdraft_limit + (max_balance or 0) < SMALL then
    return struct.pack(WHOLE_NARROW, 1, status, account.scale, account.next_due, account.postings, account.version, account.created_at,
      account.credits, account.debits, account.held, account.overdraft_limit, max_balance or -1, account.currency, account.metadata)
  end
  return struct.pack(WHOLE_WIDE, 2, status, account.scale, account.next_due, account.postings, account.version, account.created_at,
    digits_of(account.credits), digits_of(account.debits), digits_of(account.held), digits_of(account.overdraft_limit),
    max_balance and digits_of(max_balance) or '', account.currency, account.metadata)
end

-- Opens a new account in memory. It is written once something marks it dirty.
function new_account(key, currency, scale, overdraft_limit, max_balance, metadata)
  local account = {
    status = 'open',
    scale = scale,
    credits = 0,
    debits = 0,
    held = 0,
    overdraft_limit = overdraft_limit,
    max_balance = max_balance,
    next_due = 0,
    postings = 0,
    version = 0,
    created_at = now,
    currency = currency,
    metadata = metadata,
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
--- @lazy
function balance_of(account)
  return signed_difference(account.scale, account.credits, account.debits)
end

-- Returns what can be spent as a decimal: the balance without what is held, with the overdraft limit.
function available_in(account)
  local available, is_negative = net(account.credits, account.overdraft_limit, account.debits, account.held, 0)
  return decimal(available, account.scale, is_negative)
end
