-- The layout of a movement of units that a reservation holds, for `struct.pack`; `src/inventory/movement_record.rs`
-- reads it. It has the movement's code, the units, those on hand and reserved after it, the instant in milliseconds,
-- the 16 bytes of the reservation's id, the customer, and the caller's key if there is one. The code says which of the figures have changed by the
-- units, and in which direction. `lib/adjustment.lua` has the other layout.
--- @export HELD_MOVEMENT, RESERVED, SOLD, RELEASED, EXPIRED

HELD_MOVEMENT = '<BI5I5I5I6c16s'
RESERVED = 1
SOLD = 2
RELEASED = 3
EXPIRED = 4
