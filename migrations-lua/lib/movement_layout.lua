-- The two layouts of a movement, for `struct.pack`; `src/inventory/movement_record.rs` reads them. Both begin with
-- the movement's code. A movement of units that a reservation holds has the units, those on hand and reserved after
-- it, the instant in milliseconds, the 16 bytes of the reservation's id, and the customer; its code says which of the
-- figures have changed by the units, and in which direction. An adjustment has the change of the units on hand, the
-- units on hand and reserved after it, and the instant; its reference follows as JSON, and nothing for null.
--- @export HELD_MOVEMENT, ADJUSTMENT, RESERVED, SOLD, RELEASED, EXPIRED, INITIAL

HELD_MOVEMENT = '<BI5I5I5I6c16s'
ADJUSTMENT = '<Bi6I5I5I6'

RESERVED = 1
SOLD = 2
RELEASED = 3
EXPIRED = 4
INITIAL = 16
