--- @include "lib/account"
--- @include "lib/minor_units"

-- A side of a posting: the record and how it is written, its log, its id, and the field of the call
-- that names it.
local function side(key, log, id, role)
  return { record = live[key], key = key, encode = encode_account, log = log, id = id, role = role }
end

-- Why one side may not give or take at all, or nil where it may.
local function barred(this, direction)
  local status = this.record.status
  if status == 'open' then
    return nil
  end
  if status == 'closed' then
    return { 'account_closed', this.role, this.id }
  end
  if status == 'frozen_both' or status == 'frozen_' .. direction then
    return { 'account_frozen', this.role, this.id, direction }
  end
end

-- Why `minor` cannot move from one side to the other; or nil where it can, and then what the payer's
-- debits and the payee's credits will be. `field` is what the call names the amount by, `amount` where
-- nothing is said.
local function refuse(from, to, minor, field)
  local payer, payee = from.record, to.record
  if payer.scale ~= payee.scale then
    broken(to.key, 'the same decimals of ' .. payee.currency .. ' as ' .. from.key)
  end
  local refusal = barred(from, 'debits') or barred(to, 'credits')
  if refusal then
    return refusal
  end
  if from.log then
    local short = net(payer.credits, payer.overdraft_limit, payer.debits, payer.held, minor)
    if short < 0 then
      return { 'insufficient_funds', from.id, available_in(payer), decimal(minor, payer.scale), payer.currency }
    end
  end
  local debits, credits = plus(payer.debits, minor), plus(payee.credits, minor)
  if not debits or not credits or to.log and #credits > MAX_DIGITS and #minus(credits, payee.debits) > MAX_DIGITS then
    return { 'amount_out_of_range', payer.currency, field or 'amount', forget = true }
  end
  if to.log and payee.max_balance ~= '' then
    local room = net(payee.max_balance, payee.debits, credits, '0', '0')
    if room < 0 then
      return {
        'max_balance_exceeded', to.id, balance_of(payee), decimal(payee.max_balance, payee.scale),
        decimal(minor, payee.scale), payee.currency,
      }
    end
  end
  return nil, debits, credits
end

-- Writes a posting into the log of a side, which keeps its balance for the answer.
local function enter(this, direction, counterparty, entry)
  local it = this.record
  it.postings = it.postings + 1
  this.balance = balance_of(it)
  append(this.log, '{"direction":"' .. direction .. '","counterparty":"' .. counterparty
    .. '","balance_after":"' .. this.balance .. entry)
end

-- The instant of all postings of this script, as logs and as transactions have it.
local STAMP = (',"created_at_us":%d,"transaction_id":"'):format(now_us)
local CREATED_AT = (',"created_at":%d,"description":'):format(now)

local function encode_new_transaction(_, text)
  return text, transaction_ttl_ms
end

-- Moves `minor` from one side to the other, or answers the refusal and changes nothing. `new` is what
-- the transaction is: its key, id and kind, description and metadata as JSON, and the hold that it
-- captures or the transaction that it reverses; and the field of the call that names the amount.
local function post(from, to, minor, new)
  local refusal, debits, credits = refuse(from, to, minor, new.field)
  if refusal then
    return refusal
  end
  local payer, payee = from.record, to.record
  payer.debits, payee.credits = debits, credits
  payer.version, payee.version = payer.version + 1, payee.version + 1
  change(from.key, from.encode)
  change(to.key, to.encode)

  local description, metadata = new.description, new.metadata
  local entry = '","amount":"' .. decimal(minor, payer.scale) .. '","kind":"' .. new.kind .. '","description":' .. description
    .. ',"metadata":' .. metadata .. STAMP .. new.id .. '"}'
  if from.log then
    enter(from, 'debit', to.id, entry)
  end
  if to.log then
    enter(to, 'credit', from.id, entry)
  end

  local hold_id = new.hold_id and '"' .. new.hold_id .. '"' or 'null'
  local reverses = new.reverses and '"' .. new.reverses .. '"' or 'null'
  -- As `encode_transaction` writes it; nobody in this script opens it.
  live[new.key] = '{"reversed":"0","amount":"' .. minor .. '","kind":"' .. new.kind .. '","from_account":"' .. from.id
    .. '","to_account":"' .. to.id .. '","currency":"' .. payer.currency .. ('","scale":%d,"hold_id":'):format(payer.scale)
    .. hold_id .. ',"reverses":' .. reverses .. CREATED_AT .. description .. ',"metadata":' .. metadata .. '}'
  change(new.key, encode_new_transaction)
  return nil
end
