--[[
Recomputes the balances of some accounts at one moment, and what is held of them.

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

REPLY
  ok                     at_us outside:json accounts:json next
]]
--- @include "lib/account"
--- @include "lib/index_page"
--- @include "lib/posting_json"

-- The most holds of one account that are added up: more would block Redis for too long.
local MAX_HOLDS = 2000

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

local function totals_json(account, credits, debits, held, sound)
  return ('{"currency":"%s","scale":%d,"credits":"%s","debits":"%s","held":"%s","sound":%s}'):format(
    account.currency, account.scale, digits_of(credits), digits_of(debits), digits_of(held), sound
  )
end

local moment = tonumber(at_us) or now_us
local external = {}
if at_us == '' then
  local fields = redis.call('HGETALL', external_key)
  for i = 1, #fields, 2 do
    local account = decode_account(external_key .. ' ' .. fields[i], fields[i + 1])
    external[#external + 1] = totals_json(account, account.credits, account.debits, 0, 'true')
  end
end

local accounts = {}
for i = 1, line_count() do
  local account_key, account_log, holds_key = keys_of_line(i)
  local account = open_account(account_key, holds_key) or fail_corrupt(account_key, 'an account')
  local credits, debits, reached = moved_since(account_log, moment)
  if not reached and account.postings > redis.call('LLEN', account_log) then
    -- The log no longer reaches back to the moment, so the caller takes another one.
    return { 'ok', '0', {}, {}, {} }
  end
  local sound = 'null'
  local hold_count = redis.call('ZCARD', holds_key)
  if hold_count <= MAX_HOLDS then
    local holds = hold_count > 0 and redis.call('ZRANGEBYSCORE', holds_key, '(' .. now, '+inf') or {}
    for j = 1, #holds do
      holds[j] = amount_of(holds[j]:match('^(%d+):') or fail_corrupt(holds_key, 'holds'))
    end
    sound = total(holds) == account.held and 'true' or 'false'
  end
  accounts[i] = totals_json(account, minus(account.credits, credits), minus(account.debits, debits), account.held, sound)
end

return { 'ok', ('%d'):format(moment), external, accounts, ids_after(index_key, after, count) }
