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
--- @include "lib/product"
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
local details = unpack_details(product)
if price ~= '' then
  local minor
  minor, refusal = minor_units(price, decimals, details, 'price')
  if refusal then
    return refusal
  end
  details.price = digits_of(minor)
end
local function kept(new, old)
  return new == '' and old or new
end
details.name, details.description = kept(name, details.name), kept(description, details.description)
details.metadata = kept(metadata, details.metadata)
local text = pack_details(details)
local low, most = tonumber(kept(low_stock, product.low_stock)), tonumber(kept(max_per_customer, product.max_per_customer))
if text ~= product.details or low ~= product.low_stock or most ~= product.max_per_customer then
  if low ~= product.low_stock then
    -- A new threshold is not reported as a change: nothing has happened to the stock.
    product.low_stock = low
    low_stock_change(product)
  end
  product.details, product.max_per_customer = text, most
  change_product(product_key, product)
end

return { 'ok', product_json(product_id, product) }
