//! `GET /problems`: the catalogue of problem codes, which the `type` of every problem points into.

use std::sync::LazyLock;

use axum::{Json, extract::Path};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::Problem,
    data,
    domains::DOMAINS,
    store::Store,
    types::{Code, codes},
};

/// The endpoints of the catalogue.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(explain))
}

/// All problem codes: those that every call can give, and those of the domains.
pub fn problem_codes() -> &'static [Code] {
    static ALL: LazyLock<Vec<Code>> = LazyLock::new(|| {
        let domains = DOMAINS.iter().flat_map(|domain| domain.codes);
        codes::CODES.iter().chain(domains).chain(data::CODES).copied().collect()
    });
    &ALL
}

/// All problem codes.
#[derive(Debug, Serialize, ToSchema)]
struct Problems {
    /// One entry a code, those that every call can give first.
    problems: &'static [Code],
}

/// List the problem codes
///
/// A problem is the body of every error, in the media type `application/problem+json`.
#[utoipa::path(
    get,
    path = "/problems",
    operation_id = "problems/list",
    tag = "problems",
    responses((status = OK, body = Problems, description = "All codes.")),
    extensions(("x-access" = json!("open"))),
)]
async fn list() -> Json<Problems> {
    Json(Problems { problems: problem_codes() })
}

/// Explain a problem code
///
/// The `type` of a problem is the path of this call.
#[utoipa::path(
    get,
    path = "/problems/{code}",
    operation_id = "problems/explain",
    tag = "problems",
    params(("code" = String, Path, description = "The code of a problem.", example = "insufficient_funds")),
    responses((status = OK, body = Code, description = "The code and its explanation.")),
    extensions(("x-access" = json!("open")), ("x-refusals" = json!(["route_not_found"]))),
)]
async fn explain(Path(code): Path<String>) -> Result<Json<Code>, Problem> {
    let known = problem_codes().iter().find(|known| known.code == code);
    known.copied().map(Json).ok_or_else(|| codes::ROUTE_NOT_FOUND.into())
}
