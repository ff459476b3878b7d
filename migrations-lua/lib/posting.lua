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
