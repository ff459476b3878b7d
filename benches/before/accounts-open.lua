#!lua
-- The frame that every call runs in. `README.md` beside this file is its contract; the loader puts
-- the shared functions and the operations of one script in the place of the line `--- @operations`,
-- and in `records` where, by its header, an operation has records among its keys: their positions
-- among those that come once, how many those are, and the same for the keys of each line. Of an
-- operation that runs others nothing is known, and all its keys are looked up.
--
-- ARGV: clock_ahead_ms, once_ttl_ms, transaction_ttl_ms, history, then for each step
--       operation, key_count, arg_count, fingerprint, and its arguments.
-- KEYS: for each step its keys, and after them its idempotency record where it has a fingerprint.
-- Answer: for each step two values, whether it is a replay (1 or 0) and the reply.
--
-- Nothing is written before the commit at the end, so an error or a refusal leaves Redis as it was.

local clock_ahead_ms, once_ttl_ms, transaction_ttl_ms, history = unpack(ARGV, 1, 4)
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2] + clock_ahead_ms * 1000
local now = math.floor(now_us / 1000)

local loaded = {} -- what MGET gave for the key of a record; false where it gave nothing
local absent = {} -- keys that have been seen to hold nothing at all
local live = {} -- the records that a step has opened, decoded, as the steps so far have left them
local encoders, changed, changed_count = {}, {}, 0 -- by key, how to write what has changed; and those keys in order
local logs, log_order, log_count = {}, {}, 0 -- by key, the entries to append; and those keys in order
local ending, ending_count = {}, 0 -- of what has an end: key, text and time to live, one after the other
local queued = {} -- commands on collections whose type a step has already seen

-- The text of a record, or nil where there is none. MGET answers nothing for a key of another type
-- too, and to take that for absence would overwrite what somebody else keeps there.
local function stored(key)
  local text = loaded[key]
  if text then
    return text
  end
  if text == nil then
    error(key .. ' is no record by the header of the script', 0)
  end
  if not absent[key] then
    if redis.call('EXISTS', key) == 1 then
      error('WRONGTYPE ' .. key .. ' is not a record', 0)
    end
    absent[key] = true
  end
  return nil
end

-- Marks an open record as changed. At the commit `encode(key, record)` answers its text, and its
-- time to live in milliseconds if it has an end; or nothing, if it has queued what it needs itself.
local function change(key, encode)
  if not encoders[key] then
    changed_count = changed_count + 1 -- here and below, `#` of a long list is a search
    changed[changed_count] = key
  end
  encoders[key] = encode
end

-- Has a record with an end written that no step of this script opens, for it is new.
local function create(key, text, ttl_ms)
  ending[ending_count + 1], ending[ending_count + 2], ending[ending_count + 3] = key, text, ttl_ms
  ending_count = ending_count + 3
end

-- Appends an entry to a log, of which at least the newest `history` are kept.
local function append(key, entry)
  local entries = logs[key]
  if entries then
    entries[#entries + 1] = entry
  else
    logs[key] = { entry }
    log_count = log_count + 1
    log_order[log_count] = key
  end
end

local function broken(key, what)
  error(key .. ' does not hold ' .. what, 0)
end

-- Ends the script, with nothing written: the service first runs another operation on these keys, as
-- often as it takes, and then this one again. So that what has piled up is worked off in small parts.
local function first(operation, ...)
  error({ err = table.concat({ 'FIRST', operation, ... }, ' ') })
end

local alone = false -- whether the step that runs has the script to itself

-- Forgets all that would have been written. The records in memory are then no longer what is stored,
-- so no other step may see them: where there is one, the script ends, and the service sends each alone.
local function forget_changes()
  if not alone then
    error({ err = 'ALONE' })
  end
  encoders, changed, changed_count = {}, {}, 0
  logs, log_order, log_count = {}, {}, 0
  ending, ending_count, queued = {}, 0, {}
end

-- Exact arithmetic on strings of digits, in minor units. An amount and a balance have at most 28
-- digits; what has come and gone of an account in its whole life may have 36. Lua counts in doubles,
-- which are exact only to 2^53, so a number is three limbs: `(top * LIMB + mid) * LIMB + low`.
local LIMB = 100000000000000
local MAX_DIGITS = 28
local MAX_TOTAL_DIGITS = 36

local function limbs(digits)
  if #digits <= 14 then
    return 0, 0, tonumber(digits)
  end
  if #digits <= 28 then
    return 0, tonumber(digits:sub(1, -15)), tonumber(digits:sub(-14))
  end
  return tonumber(digits:sub(1, -29)), tonumber(digits:sub(-28, -15)), tonumber(digits:sub(-14))
end

-- The same number with `0 <= low < LIMB` and `0 <= mid < LIMB`.
local function carried(top, mid, low)
  local carry = math.floor(low / LIMB)
  mid, low = mid + carry, low - carry * LIMB
  carry = math.floor(mid / LIMB)
  return top + carry, mid - carry * LIMB, low
end

-- a + b - c - d - e, as limbs: it is below zero exactly where `top` is.
local function net(a, b, c, d, e)
  if #a < 15 and #b < 15 and #c < 15 and #d < 15 and #e < 15 then
    local low = a + b - c - d - e
    if low >= 0 and low < LIMB then
      return 0, 0, low
    end
    return carried(0, 0, low)
  end
  local a2, a1, a0 = limbs(a)
  local b2, b1, b0 = limbs(b)
  local c2, c1, c0 = limbs(c)
  local d2, d1, d0 = limbs(d)
  local e2, e1, e0 = limbs(e)
  return carried(a2 + b2 - c2 - d2 - e2, a1 + b1 - c1 - d1 - e1, a0 + b0 - c0 - d0 - e0)
end

-- The digits of a number that is not below zero.
local function digits_of(top, mid, low)
  if top > 0 then
    return ('%d%014d%014d'):format(top, mid, low)
  end
  if mid > 0 then
    return ('%d%014d'):format(mid, low)
  end
  return ('%d'):format(low)
end

-- a + b, or nil where that has more digits than even a total may have.
local function plus(a, b)
  if #a < 15 and #b < 15 then
    return ('%d'):format(a + b)
  end
  local digits = digits_of(net(a, b, '0', '0', '0'))
  if #digits > MAX_TOTAL_DIGITS then
    return nil
  end
  return digits
end

-- a - b, where that is known not to be below zero.
local function minus(a, b)
  return digits_of(net(a, '0', b, '0', '0'))
end

-- The digits of the sum of a list.
local function total(amounts)
  local top, mid, low = 0, 0, 0
  for i = 1, #amounts do
    local more_top, more_mid, more_low = limbs(amounts[i])
    top, mid, low = carried(top + more_top, mid + more_mid, low + more_low)
  end
  return digits_of(top, mid, low)
end

-- Digits as people write them: `decimal('1234', 2)` is 12.34.
local function decimal(digits, scale)
  if scale == 0 then
    return digits
  end
  if #digits <= scale then
    digits = ('0'):rep(scale + 1 - #digits) .. digits
  end
  return digits:sub(1, -scale - 1) .. '.' .. digits:sub(-scale)
end

-- The same for what `net` answers, which may be below zero.
local function signed_decimal(scale, top, mid, low)
  if top >= 0 then
    return decimal(digits_of(top, mid, low), scale)
  end
  return '-' .. decimal(digits_of(carried(-top, -mid, -low)), scale)
end

-- The same for a - b, which is every balance: two short numbers need no limbs.
local function signed_difference(scale, a, b)
  if #a < 15 and #b < 15 then
    local low = a - b
    if low >= 0 then
      return decimal(('%d'):format(low), scale)
    end
  end
  return signed_decimal(scale, net(a, '0', b, '0', '0'))
end
-- So many ended holds are taken back in one go; it takes a millisecond or two.
local DUE_AT_ONCE = 1000
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
--- @include "lib/amount"

-- A caller's amount, digits and how many of them are decimals, in the minor units of a thing with a currency;
-- or nil and the refusal. Only the thing knows how many decimals its currency has.
local function minor_units(digits, decimals, it, field)
  local missing = it.scale - decimals
  if missing < 0 then
    return nil, { 'amount_scale_exceeded', it.currency, it.scale, field or 'amount', forget = true }
  end
  if #digits + missing > MAX_DIGITS then
    return nil, { 'amount_out_of_range', it.currency, field or 'amount', forget = true }
  end
  if missing == 0 or digits == '0' then
    return digits
  end
  return digits .. ('0'):rep(missing)
end
--- @include "lib/account"
--- @include "lib/minor_units"

-- Makes an open account a side of a posting: it keeps its log, its id, and the field of the call that
-- names it.
local function side(key, log, id, role)
  local it = live[key]
  it.log, it.id, it.role = log, id, role
  return it
end

-- Why one side may not give or take at all, or nil where it may.
local function barred(it, direction)
  local status = it.status
  if status == 'open' then
    return nil
  end
  if status == 'closed' then
    return { 'account_closed', it.role, it.id }
  end
  if status == 'frozen_both' or status == 'frozen_' .. direction then
    return { 'account_frozen', it.role, it.id, direction }
  end
end

-- Why `minor` cannot move from one side to the other; or nil where it can, and then what the payer's
-- debits and the payee's credits will be. `field` is what the call names the amount by, `amount` where
-- nothing is said.
local function refuse(payer, payee, minor, field)
  if payer.scale ~= payee.scale then
    broken(payee.key, 'the same decimals of ' .. payee.currency .. ' as ' .. payer.key)
  end
  local refusal = barred(payer, 'debits') or barred(payee, 'credits')
  if refusal then
    return refusal
  end
  if payer.log then
    local short = net(payer.credits, payer.overdraft_limit, payer.debits, payer.held, minor)
    if short < 0 then
      return { 'insufficient_funds', payer.id, available_in(payer), decimal(minor, payer.scale), payer.currency }
    end
  end
  local debits, credits = plus(payer.debits, minor), plus(payee.credits, minor)
  if not debits or not credits or payee.log and #credits > MAX_DIGITS and #minus(credits, payee.debits) > MAX_DIGITS then
    return { 'amount_out_of_range', payer.currency, field or 'amount', forget = true }
  end
  if payee.log and payee.max_balance ~= '' then
    local room = net(payee.max_balance, payee.debits, credits, '0', '0')
    if room < 0 then
      return {
        'max_balance_exceeded', payee.id, balance_of(payee), decimal(payee.max_balance, payee.scale),
        decimal(minor, payee.scale), payee.currency,
      }
    end
  end
  return nil, debits, credits
end

-- The instant of all postings of this script, as logs and as transactions have it.
local STAMP = (',"created_at_us":%d,"transaction_id":"'):format(now_us)
local CREATED_AT = (',"created_at":%d,"description":'):format(now)

-- Writes a posting into the log of a side, and answers its balance.
local function enter(it, direction, counterparty, amount, new)
  it.postings = it.postings + 1
  local balance = balance_of(it)
  append(it.log, '{"direction":"' .. direction .. '","counterparty":"' .. counterparty
    .. '","balance_after":"' .. balance .. '","amount":"' .. amount .. '","kind":"' .. new.kind
    .. '","description":' .. new.description .. ',"metadata":' .. new.metadata .. STAMP .. new.id .. '"}')
  return balance
end

-- Moves `minor` from one side to the other, or answers the refusal and changes nothing. Where it moves,
-- answers nil, the amount and the balances of both; the world outside has none. `new` is what the
-- transaction is: its key, id and kind, description and metadata as JSON, and the hold that it captures
-- or the transaction that it reverses; and the field of the call that names the amount. It gets its text.
local function post(payer, payee, minor, new)
  local refusal, debits, credits = refuse(payer, payee, minor, new.field)
  if refusal then
    return refusal
  end
  payer.debits, payee.credits = debits, credits
  payer.version, payee.version = payer.version + 1, payee.version + 1
  change(payer.key, payer.encode or encode_account)
  change(payee.key, payee.encode or encode_account)

  local amount = decimal(minor, payer.scale)
  local from_balance = payer.log and enter(payer, 'debit', payee.id, amount, new)
  local to_balance = payee.log and enter(payee, 'credit', payer.id, amount, new)

  local hold_id = new.hold_id and '"' .. new.hold_id .. '"' or 'null'
  local reverses = new.reverses and '"' .. new.reverses .. '"' or 'null'
  -- As `encode_transaction` writes it.
  new.text = '{"reversed":"0","amount":"' .. minor .. '","kind":"' .. new.kind .. '","from_account":"' .. payer.id
    .. '","to_account":"' .. payee.id .. '","currency":"' .. payer.currency .. '","scale":' .. scale_digits(payer.scale)
    .. ',"hold_id":' .. hold_id .. ',"reverses":' .. reverses .. CREATED_AT .. new.description .. ',"metadata":' .. new.metadata .. '}'
  create(new.key, new.text, transaction_ttl_ms)
  return nil, amount, from_balance, to_balance
end
--- @include "lib/account"

-- The outside world in one currency is the other side of deposits and withdrawals: an account with no
-- floor and no log. Only the account on this side knows the currency, and every key is declared before
-- any account is read, so the outside accounts of a space are the fields of one hash.
local function encode_external(key, it)
  queued[#queued + 1] = { 'HSET', key:match('^(.*) '), it.currency, encode_account(key, it) }
end

local function external_side(hash_key, like)
  local key = hash_key .. ' ' .. like.currency
  if not live[key] then
    local text = redis.call('HGET', hash_key, like.currency)
    if text then
      decode_account(key, text)
    else
      new_account(key, like.currency, like.scale, '0', '', '{}')
    end
  end
  local it = live[key]
  it.encode, it.id = encode_external, 'external'
  return it
end
--- @include "lib/account"

-- What is told about an account.
local function account_json(account_id, it)
  local created_at, metadata = it.rest:match('^"created_at":(%d+),"metadata":({.*})$')
  if not created_at then
    broken(account_id, 'an account')
  end
  local scale = it.scale
  local status, direction = it.status:match('^(%l+)_?(%l*)$')
  local frozen = direction == '' and 'null' or '"' .. direction .. '"'
  local max_balance = it.max_balance == '' and 'null' or '"' .. decimal(it.max_balance, scale) .. '"'
  return '{"account_id":"' .. account_id .. '","currency":"' .. it.currency
    .. '","balance":"' .. balance_of(it) .. '","available":"' .. available_in(it)
    .. '","held":"' .. decimal(it.held, scale) .. '","overdraft_limit":"' .. decimal(it.overdraft_limit, scale)
    .. '","max_balance":' .. max_balance .. ',"status":"' .. status .. '","frozen":' .. frozen
    .. ',"metadata":' .. metadata .. ',"version":' .. it.version .. ',"created_at":' .. created_at .. '}'
end

local operations, records = {}, {}
operations['accounts/open'] = function(keys, args)
--[[
Open an account, with an initial balance posted from outside.

KEYS
  account_key            account
  account_log            log of postings
  external_key           hash of accounts, one a currency
  index_key              sorted set of the space's account ids
  transaction_key        new transaction

ARGV
  account_id             id
  currency               code
  scale                  decimals of the currency
  initial_balance        minor units
  overdraft_limit        minor units
  max_balance            minor units, or nothing for none
  metadata               JSON, an object of strings
  transaction_id         minted

REPLY
  ok                     account:json
  account_exists         account_id
  max_balance_exceeded   account_id balance max_balance amount currency
  amount_out_of_range    currency field
]]
--- @include "lib/posting"
--- @include "lib/external"
--- @include "lib/account_json"

local account_key, account_log, external_key, index_key, transaction_key = unpack(keys)
local account_id, currency, scale, initial_balance, overdraft_limit, max_balance, metadata, transaction_id = unpack(args)

if account(account_key) then
  return { 'account_exists', account_id }
end
-- A look at the index tells now, before anything is written, that it is one.
redis.call('ZSCORE', index_key, account_id)
local it = new_account(account_key, currency, scale, overdraft_limit, max_balance, metadata)
if initial_balance ~= '0' then
  local new = {
    key = transaction_key, id = transaction_id, kind = 'deposit', field = 'initial_balance',
    description = '"initial balance"', metadata = '{}',
  }
  local own = side(account_key, account_log, account_id, 'account_id')
  local refusal = post(external_side(external_key, it), own, initial_balance, new)
  if refusal then
    live[account_key] = nil
    return refusal
  end
end
change(account_key, encode_account)
queued[#queued + 1] = { 'ZADD', index_key, 0, account_id }

return { 'ok', account_json(account_id, it) }

end
records['accounts/open'] = { 1, }

-- Only the keys of records are looked up: most of the others exist, and to find a log is not cheap.
local wanted, wanted_count = {}, 0
local key, arg = 0, 4
while arg < #ARGV do
  local where, key_count = records[ARGV[arg + 1]], tonumber(ARGV[arg + 2])
  for i = 1, where and #where or key_count do
    wanted_count = wanted_count + 1
    wanted[wanted_count] = KEYS[key + (where and where[i] or i)]
  end
  if where and where.line then
    for before = where.once, key_count - 1, where.line do
      for i = 1, #where.each do
        wanted_count = wanted_count + 1
        wanted[wanted_count] = KEYS[key + before + where.each[i]]
      end
    end
  end
  key = key + key_count
  if ARGV[arg + 4] ~= '' then
    key, wanted_count = key + 1, wanted_count + 1
    wanted[wanted_count] = KEYS[key]
  end
  arg = arg + 4 + ARGV[arg + 3]
end
if wanted_count > 0 then
  local texts = redis.call('MGET', unpack(wanted))
  for i = 1, wanted_count do
    loaded[wanted[i]] = texts[i]
  end
end

local function encode_once(_, text)
  return text, once_ttl_ms
end

-- Runs the operation, or answers what it answered when this idempotency key was first seen.
local function run_once(once_key, fingerprint, operation, keys, args)
  local record = live[once_key] or stored(once_key)
  if record then
    if record:sub(1, 40) ~= fingerprint then
      return 0, { 'idempotency_key_reused' }
    end
    local reply = cjson.decode(record:sub(41))
    if type(reply) ~= 'table' or type(reply[1]) ~= 'string' then
      broken(once_key, 'an answer')
    end
    -- The record must outlive this repeat, and a WAIT that follows must cover it.
    queued[#queued + 1] = { 'PEXPIRE', once_key, once_ttl_ms }
    return 1, reply
  end
  local reply = operation(keys, args)
  if not reply.forget then
    live[once_key] = fingerprint .. cjson.encode(reply)
    change(once_key, encode_once)
  end
  return 0, reply
end

local answers, answer_count = {}, 0
key, arg = 0, 4
while arg < #ARGV do
  local operation = operations[ARGV[arg + 1]]
  local key_count, arg_count, fingerprint = ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4]
  local keys = { unpack(KEYS, key + 1, key + key_count) }
  local args = { unpack(ARGV, arg + 5, arg + 4 + arg_count) }
  key, arg = key + key_count, arg + 4 + arg_count
  alone = answer_count == 0 and arg == #ARGV

  local replayed, reply = 0, nil
  if fingerprint == '' then
    reply = operation(keys, args)
  else
    key = key + 1
    replayed, reply = run_once(KEYS[key], fingerprint, operation, keys, args)
  end
  answers[answer_count + 1], answers[answer_count + 2] = replayed, reply
  answer_count = answer_count + 2
end

-- Commit. Every text is ready before the first write, and the writes that can fail come first.
local lasting, lasting_count = {}, 0
for i = 1, changed_count do
  local record_key = changed[i]
  local text, ttl_ms = encoders[record_key](record_key, live[record_key])
  if ttl_ms then
    create(record_key, text, ttl_ms)
  elseif text then
    lasting[lasting_count + 1], lasting[lasting_count + 2] = record_key, text
    lasting_count = lasting_count + 2
  end
end
for i = 1, log_count do
  local log = log_order[i]
  local length = redis.pcall('RPUSH', log, unpack(logs[log]))
  if type(length) == 'table' then
    -- It is no list: the logs before it lose again what they have just been given.
    for j = 1, i - 1 do
      redis.call('RPOP', log_order[j], #logs[log_order[j]])
    end
    broken(log, 'a log')
  end
  if length > history + 256 then
    -- Trimming many entries at once, not every append pays for it.
    queued[#queued + 1] = { 'LTRIM', log, -history, -1 }
  end
end
for i = 1, #queued do
  redis.call(unpack(queued[i]))
end
if lasting_count > 0 then
  redis.call('MSET', unpack(lasting))
end
for i = 1, ending_count, 3 do
  redis.call('SET', ending[i], ending[i + 1], 'PX', ending[i + 2])
end
return answers
