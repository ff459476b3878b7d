//! The query string of a read.

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error};

use super::caller::QueryIsRead;
use crate::{
    api::Problem,
    types::{Invalid, codes},
};

/// The query string, read into the fields of `T`. What cannot be read is the problem
/// `invalid_query`. A handler takes this before [`super::Caller`].
#[derive(Debug)]
pub struct Query<T>(pub T);

/// No query string at all, of a read that has no [`super::Caller`].
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::from_str::<Vec<(String, String)>>(query);
        let pairs = pairs.map_err(|error| refuse(&error.to_string()))?;
        let pairs = pairs.into_iter().map(|(name, value)| (name, Parameter(value)));
        let fields = serde::de::value::MapDeserializer::<_, Error>::new(pairs);
        parts.extensions.insert(QueryIsRead);
        T::deserialize(fields).map(Query).map_err(|error| refuse(&error.to_string()))
    }
}

fn refuse(message: &str) -> Problem {
    let detail =
        Invalid::from_message(message).map_or(message.to_owned(), |invalid| invalid.detail);
    Problem::new(
        codes::INVALID_QUERY,
        format_args!("In the query string: {}.", detail.trim_end_matches('.')),
    )
}

/// The value of one parameter: text, which is parsed as a number or a boolean where the field has
/// that type.
struct Parameter(String);

impl IntoDeserializer<'_, Error> for Parameter {
    type Deserializer = Parameter;

    fn into_deserializer(self) -> Parameter {
        self
    }
}

impl<'de> serde::Deserializer<'de> for Parameter {
    type Error = Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_u64<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.parse() {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => {
                let unexpected = serde::de::Unexpected::Str(&self.0);
                Err(serde::de::Error::invalid_value(unexpected, &"a whole number"))
            }
        }
    }

    fn deserialize_option<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bool<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => {
                let unexpected = serde::de::Unexpected::Str(other);
                Err(serde::de::Error::invalid_value(unexpected, &"true or false"))
            }
        }
    }

    fn deserialize_enum<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
