--[[
Recompute, for some accounts of a space, what they had at one moment, and what is held of them.

READ ONLY

KEYS
  external_key           hash of accounts, one a currency
  index_key              sorted set of the space's account ids
  * account_key          account
  * account_log          log of postings
  * holds_key            sorted set of holds

ARGV
  at_us                  the moment, or nothing for now
  after                  id to go on after, or nothing to begin
  count                  how many ids to name

REPLY
  ok                     at_us outside:json accounts:json next
]]
--- @include "lib/account"

local external_key, index_key = unpack(keys)
local at_us, after, count = unpack(args)

-- More holds than that are not added up, because it would keep Redis from everybody else.
local MOST_HOLDS = 2000

-- What a log says has moved since the moment. Both sides of a transaction carry the same instant, so
-- whichever accounts are looked at later, together they are what all of them were at that moment.
local BLOCK = 50
local function moved_since(log, moment)
  local credits, debits = {}, {}
  local last = -1
  while true do
    local entries = redis.call('LRANGE', log, last - BLOCK + 1, last)
    for i = #entries, 1, -1 do
      local direction, amount, created_at_us = entries[i]:match(
        '^{"direction":"(%l+)".-"amount":"([%d.]+)".*"created_at_us":(%d+),"transaction_id":"[%w_]+"}$'
      )
      if not direction then
        broken(log, 'postings')
      end
      if tonumber(created_at_us) <= moment then
        return total(credits), total(debits), true
      end
      local moved = direction == 'credit' and credits or debits
      moved[#moved + 1] = amount:gsub('%.', '')
    end
    if #entries < BLOCK then
      return total(credits), total(debits), false
    end
    last = last - BLOCK
  end
end

local function totals(it, credits, debits, held, sound)
  return ('{"currency":"%s","scale":%d,"credits":"%s","debits":"%s","held":"%s","sound":%s}'):format(
    it.currency, it.scale, credits, debits, held, sound
  )
end

local moment = tonumber(at_us) or now_us
local outside = {}
if at_us == '' then
  local fields = redis.call('HGETALL', external_key)
  for i = 1, #fields, 2 do
    local it = decode_account(external_key .. ' ' .. fields[i], fields[i + 1])
    outside[#outside + 1] = totals(it, it.credits, it.debits, '0', 'true')
  end
end

local accounts = {}
for i = 1, (#keys - 2) / 3 do
  local account_key, account_log, holds_key = unpack(keys, 3 * i)
  local it = account(account_key, holds_key) or broken(account_key, 'an account')
  local credits, debits, reached = moved_since(account_log, moment)
  if not reached and it.postings > redis.call('LLEN', account_log) then
    -- So much has happened since that the log does not reach back; another moment has to be taken.
    return { 'ok', '0', {}, {}, {} }
  end
  local sound = 'null'
  local count = redis.call('ZCARD', holds_key)
  if count <= MOST_HOLDS then
    local holds = count > 0 and redis.call('ZRANGEBYSCORE', holds_key, '(' .. now, '+inf') or {}
    for j = 1, #holds do
      holds[j] = holds[j]:match('^(%d+):') or broken(holds_key, 'holds')
    end
    sound = total(holds) == it.held and 'true' or 'false'
  end
  accounts[i] = totals(it, minus(it.credits, credits), minus(it.debits, debits), it.held, sound)
end

local start = after == '' and '-' or '(' .. after
local next = redis.call('ZRANGEBYLEX', index_key, start, '+', 'LIMIT', 0, count)
return { 'ok', ('%d'):format(moment), outside, accounts, next }
