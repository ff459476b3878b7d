--- @include "lib/product"
--- @export product_json

local REST = '^"initial":%d+,.-"price":"(%d+)","currency":"(%w+)","scale":(%d+),"created_at":(%d+),'
  .. '"name":(".*"),"description":(.*),"metadata":({.*})$'

local function limit_json(units)
  return units == 0 and 'null' or ('%d'):format(units)
end

-- Returns a product as the JSON that callers read, with instants in milliseconds.
function product_json(product_id, product)
  local price, currency, scale, created_at, name, description, metadata = product.rest:match(REST)
  if not price then
    fail_corrupt(product_id, 'a product')
  end
  local form = '{"product_id":"%s","on_hand":%d,"reserved":%d,"available":%d,"sold":%d,'
    .. '"low_stock":%s,"max_per_customer":%s,"version":%d,'
  return form:format(
    product_id, product.on_hand, product.reserved, product.on_hand - product.reserved, product.sold,
    limit_json(product.low_stock), limit_json(product.max_per_customer), product.version
  ) .. '"price":"' .. decimal(price, tonumber(scale)) .. '","currency":"' .. currency .. '","created_at":' .. created_at
    .. ',"name":' .. name .. ',"description":' .. description .. ',"metadata":' .. metadata .. '}'
end
