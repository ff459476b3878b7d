//! Limits of the contract, each written once. A limit that scripts enforce too stands in Lua under
//! the same name; `tests/contracts.rs` compares the two.

/// The largest whole number that a double holds exactly, `Number.MAX_SAFE_INTEGER` of ECMAScript:
/// 2^53 - 1. Every JSON client reads numbers up to it exactly, and so does Lua in Redis.
pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// Most units of one product, on hand or in one line: 10^12.
pub const MAX_QUANTITY: i64 = 1_000_000_000_000;

/// Most digits of an amount or a balance, its decimals included.
pub const MAX_DIGITS: usize = 28;

/// Most digits of the sum of all credits of an account, and of the sum of all debits.
pub const MAX_TOTAL_DIGITS: usize = 36;

/// Longest duration that a caller can choose: 30 days, in milliseconds.
pub const MAX_TTL_MS: i64 = 30 * 24 * 3600 * 1000;

/// Most characters of an id.
pub const MAX_ID_LENGTH: usize = 128;

/// Most bytes of the key of a limit.
pub const MAX_LIMIT_KEY_BYTES: usize = 256;

/// Most entries of one page of a list.
pub const MAX_PAGE: u64 = 500;

/// Entries of one page of a list where the caller does not say.
pub const DEFAULT_PAGE: u64 = 50;

/// Most entries of metadata.
pub const MAX_METADATA_ENTRIES: usize = 50;

/// Most bytes of metadata, names and values together.
pub const MAX_METADATA_BYTES: usize = 8 * 1024;

/// Most open holds of an account, or reservations of a product, that an integrity check adds up.
/// It reports an account or product with more as unchecked.
pub const MAX_HOLDS: usize = 2000;

/// Most extensions of one reservation.
pub const MAX_EXTENSIONS: u64 = 10;

/// Longest time that an extended reservation holds units in all: 24 hours, in milliseconds.
pub const MAX_TOTAL_MS: i64 = 24 * 3600 * 1000;
