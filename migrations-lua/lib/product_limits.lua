--- @export MAX_QUANTITY, MAX_TOTAL

-- The most units that a product has on hand, and the most that any of its sums reaches, above zero or below. A sum of
-- nine such figures is still exact in doubles.
MAX_QUANTITY = 1000000000000
MAX_TOTAL = 999999999999999
