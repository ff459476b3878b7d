use std::collections::HashSet;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::MAX_KEYS;
use crate::{
    api::{self, Answer, Caller, Json, Problem},
    data::{self, Encoding, READ_BUDGET, written},
    store::{Invocation, Operation, RedisValue, Store},
    types::{Code, Id, Invalid, enum_from_str},
};

/// Keys to read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchGet, example = json!({ "keys": ["greeting", "farewell"] }))]
pub struct Get {
    #[schema(min_items = 1, max_items = 1000)]
    pub keys: Vec<Id>,
    /// How the values are to be written.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "text")]
    pub encoding: Encoding,
}

/// What the keys hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchValues, example = json!({ "values": { "greeting": "hello", "farewell": null } }))]
pub struct Values {
    /// By key; null where there is nothing, or nothing that is a string. Bytes that are no text are an
    /// object of their `base64`, where base64 was not asked for.
    #[schema(value_type = Object)]
    pub values: Map<String, Value>,
}

/// What the script tells.
#[derive(Debug, Deserialize)]
pub struct ValuesReply {
    values: Vec<RedisValue>,
}

impl Operation for Get {
    const NAME: &'static str = "batch/get";
    const CODES: &'static [Code] = data::CODES;
    type Reply = ValuesReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("budget", READ_BUDGET);
        for key in &self.keys {
            invocation.data_key(key);
        }
    }
}

/// Read data keys
///
/// All at one moment. It is a read, though it is sent by POST for its body.
#[utoipa::path(
    post,
    path = "/batch/get",
    operation_id = Get::NAME,
    tag = "batch",
    request_body = Get,
    responses((status = OK, body = Values, description = "What they hold.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(mut order): Json<Get>,
) -> api::Result<Values> {
    if !(1..=MAX_KEYS).contains(&order.keys.len()) {
        let invalid = Invalid::new("validation_failed", "There are 1 to 1000 keys.");
        return Err(Problem::invalid(&invalid, "/keys"));
    }
    let mut named = HashSet::new();
    order.keys.retain(|key| named.insert(key.clone()));
    let done = store.run(&order, &context).await?;
    let Get { keys, encoding } = order;
    Ok(Answer::ok(done.map(|reply| {
        Values {
            values: keys
                .into_iter()
                .zip(reply.values)
                .map(|(key, answered)| (String::from(key), value(answered, encoding)))
                .collect(),
        }
    })))
}

fn value(answered: RedisValue, encoding: Encoding) -> Value {
    match answered {
        RedisValue::Bytes(bytes) => match written(bytes, encoding) {
            (value, Some(name)) if encoding == Encoding::Text => serde_json::json!({ name: value }),
            (value, _) => value,
        },
        _ => Value::Null,
    }
}
