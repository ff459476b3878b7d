//! Moments by the clock of Redis.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::{PartialSchema, ToSchema, openapi};

/// A moment by the clock of Redis. Scripts write milliseconds since 1970; answers have RFC 3339 in
/// UTC with three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// A moment given in microseconds since 1970. One after the year 9999 becomes the latest
    /// possible.
    pub fn from_us(us: u64) -> Timestamp {
        let us = i64::try_from(us).unwrap_or(i64::MAX);
        Timestamp(jiff::Timestamp::from_microsecond(us).unwrap_or(jiff::Timestamp::MAX))
    }

    /// Milliseconds since 1970; 0 for a moment before.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millisecond()).unwrap_or_default()
    }

    /// Reads microseconds since 1970, for serde's `deserialize_with`.
    ///
    /// # Errors
    ///
    /// If the value is no whole number.
    pub fn from_microseconds<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        u64::deserialize(deserializer).map(Timestamp::from_us)
    }
}

/// Reads RFC 3339.
impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Timestamp, jiff::Error> {
        text.parse().map(Timestamp)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("milliseconds since 1970, or RFC 3339")
            }

            fn visit_i64<E: de::Error>(self, ms: i64) -> Result<Timestamp, E> {
                jiff::Timestamp::from_millisecond(ms).map(Timestamp).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Timestamp, E> {
                i64::try_from(ms).map_err(E::custom).and_then(|ms| self.visit_i64(ms))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                jiff::Timestamp::from_str(text).map(Timestamp).map_err(E::custom)
            }
        }

        deserializer.deserialize_i64(Visitor)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        openapi::ObjectBuilder::new()
            .schema_type(openapi::schema::Type::String)
            .description(Some(
                "A moment by the clock of Redis: RFC 3339 in UTC with three decimals of a second.",
            ))
            .format(Some(openapi::SchemaFormat::KnownFormat(openapi::KnownFormat::DateTime)))
            .examples(["2026-01-31T12:00:00.000Z"])
            .build()
            .into()
    }
}

impl ToSchema for Timestamp {}
