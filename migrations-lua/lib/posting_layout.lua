-- The two layouts of a posting, for `struct.pack` and `struct.unpack`. A posting has its layout, its code (that
-- of its kind, with CREDIT added for a credit), the amount, the balance after it, the instant in microseconds, the
-- 16 bytes of the transaction's id, the counterparty, the description and the metadata, both JSON and empty for the
-- usual `null` and `{}`, and the caller's key by `lib/actor.lua`. The amount and the balance are numbers in the first layout, and digits in the second.
--- @export NARROW_POSTING, WIDE_POSTING, CREDIT

NARROW_POSTING = '<BBdddc16ss'
WIDE_POSTING = '<BBdc16ssss'
CREDIT = 16
