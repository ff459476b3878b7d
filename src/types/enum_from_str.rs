//! Reads an enum from a JSON string and from nothing else. Request types name it in `deserialize_with`.

use serde::{Deserialize, Deserializer, de::IntoDeserializer};

/// Reads a unit variant from its name, for serde's `deserialize_with`.
///
/// serde's own reading of an enum also accepts the object `{"name": null}`, and reports every other
/// type as a syntax error of the JSON. Here both are an invalid value.
///
/// # Errors
///
/// If the value is no string, or no variant has that name.
pub fn enum_from_str<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(deserializer)?.into_deserializer())
}
