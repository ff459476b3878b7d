//! Reads an optional field that may be absent but not null. The bodies of `PATCH` calls use it.

use serde::{Deserialize, Deserializer};

/// Reads a field that is present, for serde's `deserialize_with` beside `default`: an absent field
/// is `None`, and null is read as a `T`. With `T = Option<U>` the caller can tell the three cases
/// apart: absent is `None`, null is `Some(None)`.
///
/// # Errors
///
/// If the value is no `T`.
pub fn non_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
