//! `GET /scripts`: lists the scripts of a space, and those of the service.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    CODES,
    record::{RegisteredScript, StoredScript, builtin_script},
};
use crate::{
    api::{self, Answer, Caller, KeysetScan, ListReply, Page, Query, ScanStep},
    store::{Completed, Invocation, Library, Operation, Store},
    types::Code,
};

/// The page that is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ScriptListQuery {
    /// The most scripts of the page, 1 to 500.
    #[serde(default = "Page::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: u64,
    /// The `next_cursor` of the page before. Without it the first page is answered.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
    cursor: Option<String>,
    /// True for the scripts of the service in place of those of the space, all on one page.
    #[serde(default)]
    builtin: bool,
}

/// A page of scripts, in the order of their names.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScriptList {
    /// Scripts, in the order of their names, without their sources.
    pub scripts: Vec<RegisteredScript>,
    /// The `cursor` of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "add-capped")]
    pub next_cursor: Option<String>,
}

/// One step through the scripts of a space.
pub struct ListScripts(pub ScanStep);

impl Operation for ListScripts {
    const NAME: &'static str = "scripts/list";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply<StoredScript>;

    fn bind(&self, invocation: &mut Invocation) {
        let step = &self.0;
        invocation.key("index_key", "index", "scripts");
        for name in &step.ids {
            invocation.key("script_key", "script", name);
            invocation.key("versions_key", "script_versions", name);
        }
        invocation.arg("after", step.after()).arg("count", step.count);
        for name in &step.ids {
            invocation.arg("name", name);
        }
    }
}

/// List scripts
///
/// Answers a page of the scripts of the space, each with the version that runs; with `builtin=true`, the
/// scripts of the service itself, by their headers.
#[utoipa::path(
    get,
    path = "/scripts",
    operation_id = ListScripts::NAME,
    tag = "scripts",
    params(ScriptListQuery),
    responses((status = OK, body = ScriptList, description = "The page of scripts.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn list(
    State(store): State<Store>,
    Query(query): Query<ScriptListQuery>,
    Caller(context): Caller,
) -> api::Result<ScriptList> {
    let scan = KeysetScan::new(query.limit, query.cursor)?;
    if query.builtin {
        let mut scripts: Vec<_> = Library::embedded()
            .iter()
            .map(|script| RegisteredScript { source: None, ..builtin_script(script) })
            .collect();
        scripts.sort_by(|one, other| one.name.cmp(&other.name));
        let reply = ScriptList { scripts, next_cursor: None };
        return Ok(Answer::ok(Completed { reply, replayed: false }));
    }
    let list = scan.page(&store, &context, ListScripts, |_| true).await?;
    let scripts = list.items.into_iter().map(|script| script.registered(None)).collect();
    let reply = ScriptList { scripts, next_cursor: list.next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
