--[[
Changes the name, description, price, limits or metadata of a product.

KEYS
  product_key            record  product
  holds_key              zset    holds
  log_key                log     movements

ARGV
  product_id             id
  expected_version       versions with a blank between them, or nothing to expect none
  name                   JSON, a string, or nothing to keep it
  description            JSON, a string or null, or nothing to keep it
  price                  digits, or nothing to keep it
  decimals               how many of them are decimals
  low_stock              units, 0 for no limit, or nothing to keep it
  max_per_customer       units, 0 for no limit, or nothing to keep it
  metadata               JSON, an object of strings, or nothing to keep it

REPLY
  ok                     product:json
  product_not_found      product_id
  version_mismatch       version expected
  amount_scale_exceeded  currency scale field
  amount_out_of_range    currency field
]]
--- @include "lib/product_json"
--- @include "lib/minor_units"
--- @include "lib/version"

local product = open_product(product_key, holds_key, log_key)
if not product then
  return { 'product_not_found', product_id }
end
local refusal = check_version(product, expected_version)
if refusal then
  return refusal
end
local totals, old_price, currency, scale, created_at, old_name, old_description, old_metadata = product.rest:match(
  '^("initial":%d+,.-)"price":"(%d+)","currency":"(%w+)","scale":(%d+),"created_at":(%d+),'
    .. '"name":(".*"),"description":(.*),"metadata":({.*})$'
)
if not totals then
  fail_corrupt(product_id, 'a product')
end
local minor = old_price
if price ~= '' then
  minor, refusal = minor_units(price, decimals, { currency = currency, scale = tonumber(scale) }, 'price')
  if refusal then
    return refusal
  end
end
local function kept(new, old)
  return new == '' and old or new
end
local rest = totals .. '"price":"' .. digits_of(minor) .. '","currency":"' .. currency .. '","scale":' .. scale
  .. ',"created_at":' .. created_at .. ',"name":' .. kept(name, old_name) .. ',"description":' .. kept(description, old_description)
  .. ',"metadata":' .. kept(metadata, old_metadata)
local low, most = tonumber(kept(low_stock, product.low_stock)), tonumber(kept(max_per_customer, product.max_per_customer))
if rest ~= product.rest or low ~= product.low_stock or most ~= product.max_per_customer then
  if low ~= product.low_stock then
    -- A new threshold is not reported as a change: nothing has happened to the stock.
    product.low_stock = low
    low_stock_change(product)
  end
  product.rest, product.max_per_customer = rest, most
  change_product(product_key, product)
end

return { 'ok', product_json(product_id, product) }
