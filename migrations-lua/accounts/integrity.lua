--[[
Recomputes the balances of some accounts at one moment, and what is held of them. It names the accounts of
which something is missing.

READ ONLY

KEYS
  external_key   hash    accounts, one a currency
  index_key      zset    the space's account ids
  * account_key  record  account
  * account_log  log     postings
  * holds_key    zset    holds

ARGV
  at_us                  the moment, or nothing for now
  after                  id to go on after, or nothing to begin
  count                  how many ids to name
  * account_id           id

REPLY
  ok                     at_us outside:json accounts:json damaged:json next
]]
--- @include "lib/account"
--- @include "lib/damage"
--- @include "lib/index_page"
--- @include "lib/posting_json"

-- The most holds of one account that are added up: more would block Redis for too long.
local MAX_HOLDS = 2000

-- The least number of postings that a log keeps, whatever `--history` says.
local MIN_HISTORY = 100

-- Returns the sums of the credits and debits in a log since the moment, and true if the log reaches back to
-- it. Both sides of a transaction carry the same instant, so the balances without these sums are those of one
-- moment, whenever each account is read.
local BLOCK = 50
local function moved_since(log, moment)
  local credits, debits = {}, {}
  local last = -1
  while true do
    local entries = redis.call('LRANGE', log, last - BLOCK + 1, last)
    for i = #entries, 1, -1 do
      local code, amount, _, _, posted_at_us = unpack_posting(log, entries[i])
      if posted_at_us <= moment then
        return total(credits), total(debits), true
      end
      local moved = code >= CREDIT and credits or debits
      moved[#moved + 1] = amount
    end
    if #entries < BLOCK then
      return total(credits), total(debits), false
    end
    last = last - BLOCK
  end
end

-- Returns true if the log of an account has lost postings: it is shorter than any history, or its newest
-- posting does not have the balance of the account.
local function has_lost_postings(account, log)
  local newest = redis.call('LRANGE', log, -1, -1)[1]
  if not newest then
    return account.postings > 0
  end
  local _, _, posted, is_posted_negative = unpack_posting(log, newest)
  local balance, is_negative = net(account.credits, 0, account.debits, 0, 0)
  return digits_of(posted) ~= digits_of(balance) or is_posted_negative ~= is_negative and balance ~= 0
    or redis.call('LLEN', log) < math.min(account.postings, MIN_HISTORY)
end

-- Returns true if an account holds what its open holds add up to; nil where they are too many.
local function has_sound_holds(account, holds_key)
  local hold_count = redis.call('ZCARD', holds_key)
  if hold_count > MAX_HOLDS then
    return nil
  end
  local holds = hold_count > 0 and redis.call('ZRANGEBYSCORE', holds_key, '(' .. now, '+inf') or {}
  for i = 1, #holds do
    holds[i] = amount_of(holds[i]:match('^(%d+):') or fail_corrupt(holds_key, 'holds'))
  end
  return total(holds) == account.held
end

local function totals_json(account, credits, debits, held, sound)
  return ('{"currency":"%s","scale":%d,"credits":"%s","debits":"%s","held":"%s","sound":%s}'):format(
    account.currency, account.scale, digits_of(credits), digits_of(debits), digits_of(held), sound
  )
end

local accounts, external, damaged = {}, {}, {}

local function name_damaged(account_id, reason)
  damaged[#damaged + 1] = ('{"account_id":"%s","reason":"%s"}'):format(account_id, reason)
end

local moment = tonumber(at_us) or now_us
if at_us == '' then
  local fields, reason = unless_damaged(redis.call, 'HGETALL', external_key)
  if reason then
    name_damaged('external', reason)
    fields = {}
  end
  for i = 1, #fields, 2 do
    local account, damage = unless_damaged(decode_account, external_key .. ' ' .. fields[i], fields[i + 1])
    if damage then
      name_damaged('external', damage)
    else
      external[#external + 1] = totals_json(account, account.credits, account.debits, 0, 'true')
    end
  end
end

-- Returns what the postings since the moment have moved, nothing where they cannot be read; and false where
-- the log no longer reaches back to the moment.
local function moved(account, account_id, log)
  local is_lost, damage = unless_damaged(has_lost_postings, account, log)
  local credits, debits, reached
  if not is_lost and not damage then
    credits, debits, reached = unless_damaged(moved_since, log, moment)
    damage = not credits and debits
  end
  if is_lost or damage then
    name_damaged(account_id, damage or 'postings')
    return 0, 0, true
  end
  return credits, debits, reached or account.postings <= redis.call('LLEN', log)
end

for i = 1, line_count() do
  local account_key, account_log, holds_key = keys_of_line(i)
  local account_id = args_of_line(i)
  local account, damage = unless_damaged(open_account, account_key, holds_key)
  if account then
    local credits, debits, reached = moved(account, account_id, account_log)
    if not reached then
      -- The log no longer reaches back to the moment, so the caller takes another one.
      return { 'ok', '0', {}, {}, {}, {} }
    end
    local sound
    sound, damage = unless_damaged(has_sound_holds, account, holds_key)
    if sound == false or damage then
      sound = false
      name_damaged(account_id, damage or 'holds')
    end
    accounts[#accounts + 1] = totals_json(
      account, minus(account.credits, credits), minus(account.debits, debits), account.held, sound == nil and 'null' or tostring(sound)
    )
  else
    name_damaged(account_id, damage or 'missing')
  end
end

return { 'ok', ('%d'):format(moment), external, accounts, damaged, ids_after(index_key, after, count) }
