use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MAX_KEYS;
use crate::{
    api::{self, Answer, Caller, Json, Problem},
    data::{self, Encoding},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Invalid, Ttl, enum_from_str},
};

/// Values to write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchSet, example = json!({
    "values": { "greeting": "hello", "farewell": "bye" }, "ttl_ms": 60_000
}))]
pub struct Set {
    /// By key; at most 1,000.
    pub values: BTreeMap<Id, String>,
    /// How long they last; without it, they have no end.
    pub ttl_ms: Option<Ttl>,
    /// How the values are written.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "text")]
    pub encoding: Encoding,
}

/// Values that are written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = BatchWritten, example = json!({ "written": 2 }))]
pub struct Written {
    /// How many.
    pub written: u64,
}

/// The same, with its values as they are to be kept.
struct Setting {
    values: Vec<(Id, Vec<u8>)>,
    ttl_ms: Option<Ttl>,
}

impl TryFrom<Set> for Setting {
    type Error = Problem;

    fn try_from(order: Set) -> Result<Setting, Problem> {
        let Set { values, ttl_ms, encoding } = order;
        if !(1..=MAX_KEYS).contains(&values.len()) {
            let invalid = Invalid::new("validation_failed", "There are 1 to 1000 values.");
            return Err(Problem::invalid(&invalid, "/values"));
        }
        let decode = |(key, value): (Id, String)| {
            let bytes = encoding.decode(value, &format!("/values/{key}"))?;
            Ok((key, bytes))
        };
        let values = values.into_iter().map(decode).collect::<Result<_, Problem>>()?;
        Ok(Setting { values, ttl_ms })
    }
}

impl Operation for Setting {
    const NAME: &'static str = "batch/set";
    const CODES: &'static [Code] = data::CODES;
    type Reply = Written;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("ttl_ms", self.ttl_ms.map_or(String::new(), |ttl| ttl.to_string()));
        for (key, value) in &self.values {
            invocation.data_key(key).word(value);
        }
    }
}

/// Write data keys
///
/// All in one step. What a key held before, of whatever type, is gone.
#[utoipa::path(
    post,
    path = "/batch/set",
    operation_id = Setting::NAME,
    tag = "batch",
    request_body = Set,
    responses((status = OK, body = Written, description = "They are written.")),
)]
pub async fn set(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(order): Json<Set>,
) -> api::Result<Written> {
    Ok(Answer::ok(store.run(&Setting::try_from(order)?, &context).await?))
}
