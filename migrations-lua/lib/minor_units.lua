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
