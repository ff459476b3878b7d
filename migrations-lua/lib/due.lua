-- So many ended holds are taken back in one go; it takes a millisecond or two.
local DUE_AT_ONCE = 1000
