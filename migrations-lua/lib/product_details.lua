--- @export pack_details, unpack_details

-- The details of a product, the end of its record: the initial stock and the sums of what adjustments have changed,
-- by their causes; the decimals of its currency and the instant at which it was added; price, currency, name and
-- description (JSON), and last the metadata (JSON).
local DETAILS = '<dddddddBdssss'

-- Packs the details of a product.
function pack_details(details)
  return struct.pack(DETAILS, details.initial, details.received, details.returned, details.damaged, details.lost, details.counted,
    details.other, details.scale, details.created_at, details.price, details.currency, details.name, details.description)
    .. details.metadata
end

-- Returns the details of a product.
function unpack_details(product)
  local details, at = {}
  details.initial, details.received, details.returned, details.damaged, details.lost, details.counted, details.other,
    details.scale, details.created_at, details.price, details.currency, details.name, details.description,
    at = struct.unpack(DETAILS, product.details)
  details.metadata = product.details:sub(at)
  return details
end
