--- @include "lib/product"

-- What is told about a product.
local REST = '^"initial":%d+,.-"price":"(%d+)","currency":"(%w+)","scale":(%d+),"created_at":(%d+),'
  .. '"name":(".*"),"description":(.*),"metadata":({.*})$'

local function product_json(product_id, it)
  local price, currency, scale, created_at, name, description, metadata = it.rest:match(REST)
  if not price then
    broken(product_id, 'a product')
  end
  local function limit(number)
    return number == 0 and 'null' or ('%d'):format(number)
  end
  return ('{"product_id":"%s","on_hand":%d,"reserved":%d,"available":%d,"sold":%d,"low_stock":%s,"max_per_customer":%s,"version":%d,'):format(
    product_id, it.on_hand, it.reserved, it.on_hand - it.reserved, it.sold, limit(it.low_stock), limit(it.max_per_customer), it.version
  ) .. '"price":"' .. decimal(price, tonumber(scale)) .. '","currency":"' .. currency .. '","created_at":' .. created_at
    .. ',"name":' .. name .. ',"description":' .. description .. ',"metadata":' .. metadata .. '}'
end
