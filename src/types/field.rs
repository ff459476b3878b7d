use serde::{Deserialize, Deserializer, de::IntoDeserializer};

/// Reads one of several words, for `deserialize_with`. On its own, serde would also take an object
/// whose one name is the word, and calls everything else that is no word a fault of the JSON.
///
/// # Errors
///
/// Where it is no string, or none of the words.
pub fn word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(deserializer)?.into_deserializer())
}

/// Reads a field of which null is no way to say nothing, for `deserialize_with`: named, it is
/// something, or it is refused.
///
/// # Errors
///
/// Where it is no `T`.
pub fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
