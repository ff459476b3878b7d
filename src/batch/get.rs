//! `POST /batch/get`: reads many data keys at one moment.

use std::collections::{BTreeMap, HashSet};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MAX_KEYS;
use crate::{
    api::{self, Answer, Caller, Json, Problem},
    data::{self, Encoding, READ_BUDGET},
    store::{Invocation, Operation, RedisValue, Store},
    types::{Code, Id, enum_from_str},
};

/// Reads data keys.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "keys": ["greeting", "farewell"] }))]
pub struct BatchGet {
    /// Data keys to read, 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    pub keys: Vec<Id>,
    /// Encoding of the values in the answer.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "text")]
    pub encoding: Encoding,
}

/// The values of data keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "values": { "greeting": "hello", "farewell": null } }))]
pub struct BatchValues {
    /// Values by key.
    pub values: BTreeMap<String, BatchValue>,
}

/// The value of a data key: text, an object with bytes that are not UTF-8, or null for a key that holds
/// no string. With the encoding `base64` every value is text in base64.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum BatchValue {
    /// The value, in the encoding that the call asks for.
    Text(String),
    /// Bytes that are not UTF-8, where the call asks for text.
    Bytes {
        /// The bytes in base64 (RFC 4648, with padding).
        base64: String,
    },
    /// The key holds no string.
    Missing,
}

/// The reply of the script, in the order of the keys.
#[derive(Debug, Deserialize)]
pub struct BatchGetReply {
    values: Vec<RedisValue>,
}

impl Operation for BatchGet {
    const NAME: &'static str = "batch/get";
    const CODES: &'static [Code] = data::CODES;
    type Reply = BatchGetReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("budget", READ_BUDGET);
        for key in &self.keys {
            invocation.data_key(key);
        }
    }
}

/// Read data keys
///
/// All keys are read at the same moment. The call changes nothing, though it is a POST for the sake of
/// its body. All values together have 4 MiB at most.
#[utoipa::path(
    post,
    path = "/batch/get",
    operation_id = BatchGet::NAME,
    tag = "batch",
    request_body = BatchGet,
    responses((status = OK, body = BatchValues, description = "The values of the keys.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(mut request): Json<BatchGet>,
) -> api::Result<BatchValues> {
    if !(1..=MAX_KEYS).contains(&request.keys.len()) {
        return Err(Problem::validation("/keys", "There are 1 to 1000 keys."));
    }
    let mut distinct = HashSet::new();
    request.keys.retain(|key| distinct.insert(key.clone()));
    let completed = store.run(&request, &context).await?;
    let BatchGet { keys, encoding } = request;
    Ok(Answer::ok(completed.map(|reply| {
        let values = keys.into_iter().zip(reply.values);
        let values = values.map(|(key, value)| (String::from(key), batch_value(value, encoding)));
        BatchValues { values: values.collect() }
    })))
}

fn batch_value(value: RedisValue, encoding: Encoding) -> BatchValue {
    let RedisValue::Bytes(bytes) = value else { return BatchValue::Missing };
    match encoding.encode(bytes) {
        (text, Some(_)) if encoding == Encoding::Text => BatchValue::Bytes { base64: text },
        (text, _) => BatchValue::Text(text),
    }
}
