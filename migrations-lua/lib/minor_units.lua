--- @include "lib/amount"
--- @export minor_units

-- Returns an amount that a caller gave, as digits and how many of them are decimals, in the minor units of a
-- record with a currency; or nil and the refusal. Only the record knows how many decimals its currency has.
-- `field` is the field of the request that has the amount, `amount` where it is left out.
function minor_units(digits, decimals, record, field)
  local missing = record.scale - decimals
  if missing < 0 then
    return nil, { 'amount_scale_exceeded', record.currency, record.scale, field or 'amount', replayable = false }
  end
  if #digits + missing > MAX_DIGITS then
    return nil, { 'amount_out_of_range', record.currency, field or 'amount', replayable = false }
  end
  -- Zero is a number whatever its decimals are: many zeros would be digits.
  if missing == 0 or digits == '0' then
    return amount_of(digits)
  end
  return amount_of(digits .. ('0'):rep(missing))
end
