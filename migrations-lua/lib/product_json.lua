--- @include "lib/amount"
--- @include "lib/product_details"
--- @export product_json

local function limit_json(units)
  return units == 0 and 'null' or ('%d'):format(units)
end

-- Returns a product as the JSON that callers read, with instants in milliseconds.
function product_json(product_id, product)
  local details = unpack_details(product)
  local form = '{"product_id":"%s","on_hand":%d,"reserved":%d,"available":%d,"sold":%d,'
    .. '"low_stock":%s,"max_per_customer":%s,"version":%d,"created_at":%d,'
  return form:format(
    product_id, product.on_hand, product.reserved, product.on_hand - product.reserved, product.sold,
    limit_json(product.low_stock), limit_json(product.max_per_customer), product.version, details.created_at
  ) .. '"price":"' .. decimal(details.price, details.scale) .. '","currency":"' .. details.currency
    .. '","name":' .. details.name .. ',"description":' .. details.description .. ',"metadata":' .. details.metadata .. '}'
end
