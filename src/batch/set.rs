//! `POST /batch/set`: writes many data keys in one step.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MAX_KEYS;
use crate::{
    api::{self, Answer, Caller, Json, Problem},
    data::{self, Encoding},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Ttl, UniqueMap, enum_from_str},
};

/// Writes data keys.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "values": { "greeting": "hello", "farewell": "bye" }, "ttl_ms": 60_000
}))]
pub struct BatchSet {
    /// Strings to write, by key; 1 to 1,000, and no key twice.
    #[schema(value_type = BTreeMap<Id, String>)]
    pub values: UniqueMap<Id, String>,
    /// Time in milliseconds after which the keys end. Without it they never end.
    pub ttl_ms: Option<Ttl>,
    /// Encoding of the values in this request.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "text")]
    pub encoding: Encoding,
}

/// The result of a batch of writes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "written": 2 }))]
pub struct BatchWritten {
    /// Number of keys that were written.
    pub written: u64,
}

/// A batch of writes whose values have been checked and decoded.
struct DecodedBatchSet {
    values: Vec<(Id, Vec<u8>)>,
    ttl_ms: Option<Ttl>,
}

impl TryFrom<BatchSet> for DecodedBatchSet {
    type Error = Problem;

    fn try_from(request: BatchSet) -> Result<DecodedBatchSet, Problem> {
        let BatchSet { values, ttl_ms, encoding } = request;
        let values = values.into_entries();
        if !(1..=MAX_KEYS).contains(&values.len()) {
            return Err(Problem::validation("/values", "There are 1 to 1000 values."));
        }
        let decode = |(key, value): (Id, String)| {
            let bytes = encoding.decode(value, &format!("/values/{key}"))?;
            Ok((key, bytes))
        };
        let values = values.into_iter().map(decode).collect::<Result<_, Problem>>()?;
        Ok(DecodedBatchSet { values, ttl_ms })
    }
}

impl Operation for DecodedBatchSet {
    const NAME: &'static str = "batch/set";
    const CODES: &'static [Code] = data::CODES;
    type Reply = BatchWritten;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("ttl_ms", self.ttl_ms.map_or(String::new(), |ttl| ttl.to_string()));
        for (key, value) in &self.values {
            invocation.data_key(key).raw_arg(value);
        }
    }
}

/// Write data keys
///
/// All keys are written in one step. A value that a key held before, of whatever type, is replaced.
#[utoipa::path(
    post,
    path = "/batch/set",
    operation_id = DecodedBatchSet::NAME,
    tag = "batch",
    request_body = BatchSet,
    responses((status = OK, body = BatchWritten, description = "The keys were written.")),
)]
pub async fn set(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<BatchSet>,
) -> api::Result<BatchWritten> {
    Ok(Answer::ok(store.run(&DecodedBatchSet::try_from(request)?, &context).await?))
}
