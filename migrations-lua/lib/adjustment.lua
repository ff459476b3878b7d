--- @include "lib/movement_layout"
--- @export append_adjustment

-- Appends a change of the units on hand to the log of a product. `reference` is JSON.
function append_adjustment(product, code, delta, reference)
  product.movements = product.movements + 1
  append(product.log_key, struct.pack(ADJUSTMENT, code, delta, product.on_hand, product.reserved, now)
    .. (reference == 'null' and '' or reference))
end
