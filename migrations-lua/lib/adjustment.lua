--- @include "lib/actor"
--- @export append_adjustment

-- The layout of a movement that is an adjustment; `src/inventory/movement_record.rs` reads it. It has the code of its
-- reason, the change of the units on hand, those on hand and reserved after it, and the instant in milliseconds; its
-- reference follows as JSON, and nothing for null, with the caller's key by `lib/actor.lua`.
local ADJUSTMENT = '<Bi6I5I5I6'
local CODES = { initial = 16, received = 17, returned = 18, damaged = 19, lost = 20, counted = 21, other = 22 }

-- Appends a change of the units on hand to the log of a product. `reference` is JSON.
function append_adjustment(product, reason, delta, reference)
  product.movements = product.movements + 1
  reference = reference == 'null' and '' or reference
  append(product.log_key, struct.pack(ADJUSTMENT, CODES[reason], delta, product.on_hand, product.reserved, now)
    .. (acting_key and with_actor(reference) or reference))
end
