-- The layout of a reservation, for `struct.pack` and `struct.unpack`: its version byte, status, number of
-- extensions, the instants at which it was made and expires, and its customer; then its lines, each with the
-- product and the units that were reserved, confirmed and released. Its id is in its key.
--- @export RESERVATION, LINE, STATUS_HELD, RESERVATION_KEPT_MS

RESERVATION = '<BBBI6I6s'
LINE = '<sI5I5I5'
STATUS_HELD = 1

-- A reservation is kept 7 days after it ends, so that a late call learns how it ended.
RESERVATION_KEPT_MS = 604800000
