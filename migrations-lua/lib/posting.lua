--- @include "lib/account"

-- A side of a posting: the record and how it is written, its log, its id.
local function side(key, log, id)
  return { record = live[key], key = key, encode = encode_account, log = log, id = id }
end

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
  return { record = live[key], key = key, encode = encode_external, id = 'external' }
end

-- A caller's amount, digits and how many of them are decimals, in the minor units of an account;
-- or nil and the refusal. Only the account knows how many decimals its currency has.
local function minor_units(digits, decimals, it)
  local missing = it.scale - decimals
  if missing < 0 then
    return nil, { 'amount_scale_exceeded', it.currency, it.scale, forget = true }
  end
  if #digits + missing > MAX_DIGITS then
    return nil, { 'amount_out_of_range', it.currency, forget = true }
  end
  return digits .. ('0'):rep(missing)
end

-- Writes a posting into the log of a side, which keeps its balance for the answer.
local function enter(this, direction, counterparty, entry)
  local it = this.record
  it.postings = it.postings + 1
  this.balance = balance_of(it)
  append(this.log, '{"direction":"' .. direction .. '","counterparty":"' .. counterparty
    .. '","balance_after":"' .. this.balance .. entry)
end

-- Moves `minor` from one side to the other, or answers the refusal and changes nothing.
local function post(from, to, minor, transaction_id, description, metadata)
  local payer, payee = from.record, to.record
  local scale = payer.scale
  if scale ~= payee.scale then
    broken(to.key, 'the same decimals of ' .. payee.currency .. ' as ' .. from.key)
  end

  if from.log then
    local short = net(payer.credits, payer.overdraft_limit, payer.debits, payer.held, minor)
    if short < 0 then
      return { 'insufficient_funds', from.id, available_in(payer), decimal(minor, scale), payer.currency }
    end
  end
  local debits, credits = plus(payer.debits, minor), plus(payee.credits, minor)
  if not debits or not credits then
    return { 'amount_out_of_range', payer.currency, forget = true }
  end
  if to.log and payee.max_balance ~= '' then
    local room = net(payee.max_balance, payee.debits, credits, '0', '0')
    if room < 0 then
      return {
        'max_balance_exceeded', to.id, balance_of(payee), decimal(payee.max_balance, scale),
        decimal(minor, scale), payee.currency,
      }
    end
  end

  payer.debits, payee.credits = debits, credits
  payer.version, payee.version = payer.version + 1, payee.version + 1
  change(from.key, from.encode)
  change(to.key, to.encode)
  local entry = '","amount":"' .. decimal(minor, scale) .. '","description":' .. description
    .. ',"metadata":' .. metadata .. ',"created_at":' .. now .. ',"transaction_id":"' .. transaction_id .. '"}'
  if from.log then
    enter(from, 'debit', to.id, entry)
  end
  if to.log then
    enter(to, 'credit', from.id, entry)
  end
  return nil
end
