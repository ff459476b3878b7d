--- @include "lib/product"

-- What is told about a product, in the order of the headers that answer with it.
local REST = '^"price":"(%d+)","currency":"(%w+)","scale":(%d+),"created_at":(%d+),'
  .. '"name":(".*"),"description":(.*),"metadata":({.*})$'

local function product_fields(product_id, it)
  local price, currency, scale, created_at, name, description, metadata = it.rest:match(REST)
  if not price then
    broken(product_id, 'a product')
  end
  return product_id, name, description, decimal(price, tonumber(scale)), currency, it.on_hand, it.reserved,
    it.on_hand - it.reserved, it.sold, metadata, it.version, created_at
end
