--- @include "lib/account"
--- @include "lib/actor"
--- @include "lib/minor_units"
--- @include "lib/posting_layout"
--- @include "lib/transaction"
--- @export posting_side, check_posting, post

-- Makes an open account a side of a posting, and returns it. `log` is the key of its log, `role` the field of
-- the request that names it.
function posting_side(key, log, id, role)
  local account = open_records[key]
  account.log, account.id = log, id
  if account.status ~= 'open' then
    account.role = role
  end
  return account
end

-- Refuses a side that is not open and may not give (`debits`) or take (`credits`); returns nil for one that may.
--- @lazy
local function status_refusal(account, direction)
  local status = account.status
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
    return { 'currency_scale_mismatch', payer.currency, payer.scale, payee.scale, replayable = false }
  end
  local refusal = payer.status ~= 'open' and status_refusal(payer, 'debits')
    or payee.status ~= 'open' and status_refusal(payee, 'credits')
  if refusal then
    return refusal
  end
  if payer.log and sign_of_net(payer.credits, payer.overdraft_limit, payer.debits, payer.held, minor) < 0 then
    return { 'insufficient_funds', payer.id, available_in(payer), decimal(minor, payer.scale), payer.currency }
  end
  local debits, credits = plus(payer.debits, minor), plus(payee.credits, minor)
  local is_too_wide = payee.log and type(credits) == 'string' and #credits > MAX_DIGITS
    and #digits_of(minus(credits, payee.debits)) > MAX_DIGITS
  if not debits or not credits or is_too_wide then
    return { 'amount_out_of_range', payer.currency, field or 'amount', replayable = false }
  end
  if payee.log and payee.max_balance and sign_of_net(payee.max_balance, payee.debits, credits, 0, 0) < 0 then
    return {
      'max_balance_exceeded', payee.id, balance_of(payee), decimal(payee.max_balance, payee.scale),
      decimal(minor, payee.scale), payee.currency,
    }
  end
  return nil, debits, credits
end

-- Appends a posting to the log of a side, and returns its balance: a number, or digits that may have a minus
-- before them.
local function append_posting(account, direction, counterparty, minor, transaction, description, metadata)
  account.postings = account.postings + 1
  local kind = transaction.kind + direction
  local balance, is_negative = net(account.credits, 0, account.debits, 0, 0)
  if type(balance) == 'number' and type(minor) == 'number' then
    balance = is_negative and -balance or balance
    append(account.log, struct.pack(NARROW_POSTING, 1, kind, minor, balance, now_us, transaction.field, counterparty, description)
      .. metadata)
    return balance
  end
  balance = (is_negative and '-' or '') .. digits_of(balance)
  append(account.log, struct.pack(WIDE_POSTING, 2, kind, now_us, transaction.field, digits_of(minor), balance, counterparty, description)
    .. metadata)
  return balance
end

-- Moves `minor` from one side to the other, or returns the refusal and changes nothing. After a move it
-- returns nil and the balances of both, each a number, or digits that may have a minus before them; the
-- external account has none. `transaction` has the hash and the field that it is written to, its kind, its
-- description and metadata as JSON, the hold that it captures or the transaction that it reverses, and the
-- field of the request that has the amount.
function post(payer, payee, minor, transaction)
  local refusal, debits, credits = check_posting(payer, payee, minor, transaction.request_field)
  if refusal then
    return refusal
  end
  payer.debits, payee.credits = debits, credits
  payer.version, payee.version = payer.version + 1, payee.version + 1
  mark_dirty(payer.key, payer.encode or encode_account)
  mark_dirty(payee.key, payee.encode or encode_account)

  local description, metadata = transaction.description, transaction.metadata
  -- The usual values take no room.
  description, metadata = description == 'null' and '' or description, metadata == '{}' and '' or metadata
  metadata = acting_key and with_actor(metadata) or metadata
  add_field(transaction.hash, transaction.field, pack_transaction(transaction.kind, payer.scale, now, minor, 0, payer.id,
    payee.id, payer.currency, transaction.hold_id, transaction.reverses, description, metadata))
  local from_balance = payer.log and append_posting(payer, 0, payee.id, minor, transaction, description, metadata)
  local to_balance = payee.log and append_posting(payee, CREDIT, payer.id, minor, transaction, description, metadata)
  return nil, from_balance, to_balance
end
