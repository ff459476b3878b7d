--- @include "lib/account"
--- @include "lib/minor_units"
--- @export posting_side, check_posting, post

-- Makes an open account a side of a posting, and returns it. `log` is the key of its log, `role` the field of
-- the request that names it.
function posting_side(key, log, id, role)
  local account = open_records[key]
  account.log, account.id, account.role = log, id, role
  return account
end

-- Refuses a side that may not give (`debits`) or take (`credits`), and returns nil for one that may.
local function status_refusal(account, direction)
  local status = account.status
  if status == 'open' then
    return nil
  end
  if status == 'closed' then
    return { 'account_closed', account.role, account.id }
  end
  if status == 'frozen_both' or status == 'frozen_' .. direction then
    return { 'account_frozen', account.role, account.id, direction }
  end
end

-- Refuses to move `minor` from one side to the other; or returns nil, and what the payer's debits and the
-- payee's credits will be. `field` is the field of the request that has the amount, `amount` where it is left
-- out. The external account has no log, and no limits.
function check_posting(payer, payee, minor, field)
  if payer.scale ~= payee.scale then
    fail_corrupt(payee.key, 'the same decimals of ' .. payee.currency .. ' as ' .. payer.key)
  end
  local refusal = status_refusal(payer, 'debits') or status_refusal(payee, 'credits')
  if refusal then
    return refusal
  end
  if payer.log then
    local left = net(payer.credits, payer.overdraft_limit, payer.debits, payer.held, minor)
    if left < 0 then
      return { 'insufficient_funds', payer.id, available_in(payer), decimal(minor, payer.scale), payer.currency }
    end
  end
  local debits, credits = plus(payer.debits, minor), plus(payee.credits, minor)
  if not debits or not credits or payee.log and #credits > MAX_DIGITS and #minus(credits, payee.debits) > MAX_DIGITS then
    return { 'amount_out_of_range', payer.currency, field or 'amount', replayable = false }
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
local POSTED_AT = (',"created_at_us":%d,"transaction_id":"'):format(now_us)
local CREATED_AT = (',"created_at":%d,"description":'):format(now)

-- Appends a posting to the log of a side, and returns its balance.
local function append_posting(account, direction, counterparty, amount, transaction)
  account.postings = account.postings + 1
  local balance = balance_of(account)
  append(account.log, '{"direction":"' .. direction .. '","counterparty":"' .. counterparty
    .. '","balance_after":"' .. balance .. '","amount":"' .. amount .. '","kind":"' .. transaction.kind
    .. '","description":' .. transaction.description .. ',"metadata":' .. transaction.metadata .. POSTED_AT .. transaction.id .. '"}')
  return balance
end

-- Moves `minor` from one side to the other, or returns the refusal and changes nothing. Where it moves,
-- returns nil, the amount and the balances of both; the external account has none. `transaction` has its key,
-- id and kind, its description and metadata as JSON, the hold that it captures or the transaction that it
-- reverses, and the field of the request that has the amount. It gets its text.
function post(payer, payee, minor, transaction)
  local refusal, debits, credits = check_posting(payer, payee, minor, transaction.field)
  if refusal then
    return refusal
  end
  payer.debits, payee.credits = debits, credits
  payer.version, payee.version = payer.version + 1, payee.version + 1
  mark_dirty(payer.key, payer.encode or encode_account)
  mark_dirty(payee.key, payee.encode or encode_account)

  local amount = decimal(minor, payer.scale)
  local from_balance = payer.log and append_posting(payer, 'debit', payee.id, amount, transaction)
  local to_balance = payee.log and append_posting(payee, 'credit', payer.id, amount, transaction)

  local hold_id = transaction.hold_id and '"' .. transaction.hold_id .. '"' or 'null'
  local reverses = transaction.reverses and '"' .. transaction.reverses .. '"' or 'null'
  -- The same text as `encode_transaction` writes.
  transaction.text = '{"reversed":"0","amount":"' .. minor .. '","kind":"' .. transaction.kind .. '","from_account":"' .. payer.id
    .. '","to_account":"' .. payee.id .. '","currency":"' .. payer.currency .. '","scale":' .. scale_digits(payer.scale)
    .. ',"hold_id":' .. hold_id .. ',"reverses":' .. reverses .. CREATED_AT .. transaction.description
    .. ',"metadata":' .. transaction.metadata .. '}'
  create_record(transaction.key, transaction.text, transaction_ttl_ms)
  return nil, amount, from_balance, to_balance
end
