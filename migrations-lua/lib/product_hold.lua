--- @export hold_member, held_by

-- A member of the sorted set of a product's holds: the units and the 16 bytes of the reservation's id. Its score is
-- the instant at which the hold ends.
local HOLD = '<I5c16'
local HOLD_SIZE = 21

-- Returns the member of the set of holds that stands for some units of a reservation.
function hold_member(quantity, id_bytes)
  return struct.pack(HOLD, quantity, id_bytes)
end

-- Returns the units and the bytes of the reservation's id of a member of a set of holds.
function held_by(holds_key, member)
  if #member ~= HOLD_SIZE then
    fail_corrupt(holds_key, 'holds')
  end
  return struct.unpack(HOLD, member)
end
