//! `POST /cache/invalidate`: ends values and leases, by keys and by tags.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES, ENTRY, bind_tags,
    key::CacheKey,
    value::{VALUES, check_tags},
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, LimitKey},
};

/// The most keys of a call, and the most tags.
const MAX_NAMES: usize = 128;

/// Invalidates entries.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CacheInvalidate, example = json!({
    "keys": ["account:alice:summary", "account:bob:summary"], "tags": ["statements"]
}))]
pub struct Invalidate {
    /// Keys of entries, at most 128.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub keys: Vec<CacheKey>,
    /// Tags of entries, at most 128. Every entry with one of them is invalidated, whatever their number.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub tags: Vec<LimitKey>,
    /// True to leave the values for the time until the entries are filled, for at most the `stale_ms` that they were
    /// stored with: `POST /cache/get` shows them as `stale_value`.
    #[serde(default)]
    #[schema(default = false)]
    pub keep_stale: bool,
}

/// The entries that were invalidated.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "invalidated": 2 }))]
pub struct Invalidated {
    /// Number of entries among `keys` that had a value or were being filled. Those of tags are not counted: nobody
    /// looks for them.
    pub invalidated: u64,
}

impl Operation for Invalidate {
    const NAME: &'static str = "cache/invalidate";
    const CODES: &'static [Code] = CODES;
    type Reply = Invalidated;

    fn bind(&self, invocation: &mut Invocation) {
        bind_tags(invocation);
        for key in &self.keys {
            invocation.key("entry_key", ENTRY, key).key("values_key", VALUES, key);
        }
        invocation.arg("keep_stale", self.keep_stale);
        for tag in &self.tags {
            invocation.arg("tag", tag);
        }
    }
}

impl Command for Invalidate {
    type Operation = Invalidate;
    type Output = Invalidated;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Invalidate, Problem> {
        if self.keys.is_empty() && self.tags.is_empty() {
            return Err(Problem::validation("/keys", "Name at least one key or one tag."));
        }
        if self.keys.len() > MAX_NAMES {
            return Err(Problem::validation("/keys", "There are at most 128 keys."));
        }
        check_tags(&self.tags, MAX_NAMES)?;
        Ok(self)
    }

    fn answer(
        _: &Invalidate,
        result: Result<Completed<Invalidated>, store::Error>,
    ) -> api::Result<Invalidated> {
        Ok(Answer::ok(result?))
    }
}

/// Invalidate entries
///
/// The values are gone, and every lease that was given before is void: what its holder computes may be older, and
/// is not stored. Works in `POST /atomic` beside the change that makes the values wrong, so that nobody sees one
/// without the other. The work does not depend on the number of entries that a tag has.
#[utoipa::path(
    post,
    path = "/cache/invalidate",
    operation_id = Invalidate::NAME,
    tag = "cache",
    request_body = Invalidate,
    responses((status = OK, body = Invalidated, description = "The entries are invalid.")),
)]
pub async fn invalidate(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Invalidate>,
) -> api::Result<Invalidated> {
    request.run(&store, &context).await
}
