//! Callers' own scripts: a registry that survives a server that forgets scripts, runs that stay within the data
//! keys of a space, errors that name a line, checks, profiles and traces.
//!
//! Each call has a file of its own. `record` has a script as it is stored and answered, `source` prepares a
//! source for the server, and `lint` and `tokens` read Lua. `app` serves the routes.

mod activate;
mod cache;
pub mod codes;
mod compile;
mod delete;
mod find;
mod flush;
mod get;
mod get_version;
mod kill;
mod lint;
mod list;
mod profile;
mod put;
mod record;
mod run;
mod source;
mod tokens;
mod trace;
mod validate;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::Problem,
    store::{Failure, Library, Store},
    types::{Id, codes::INVALID_ID},
};

pub use codes::CODES;
pub use record::KEY_KINDS;

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(put::put, get::get, delete::delete))
        .routes(routes!(get_version::get_version))
        .routes(routes!(activate::activate))
        .routes(routes!(run::run))
        .routes(routes!(profile::profile))
        .routes(routes!(trace::trace))
        .routes(routes!(validate::validate))
        .routes(routes!(kill::kill))
        .routes(routes!(flush::flush))
        .routes(routes!(cache::cache))
}

/// The problem of a command about scripts that the server did not run. Unlike the commands of operations, it may be
/// a right that the start does not ask for, so the caller learns its name.
fn store_problem(failure: Failure) -> Problem {
    let cause = failure.to_string();
    let problem = Problem::from(failure);
    if !cause.contains("NOPERM") {
        return problem;
    }
    let detail = "The Redis user of the service lacks the right to a command of scripts, +script, +eval_ro or \
                  +evalsha_ro: see docs/operations.md. Nothing was done.";
    problem.with_detail(detail)
}

/// Returns the name of a script that a call may register.
///
/// # Errors
///
/// `invalid_id` for the name of one of the service's own scripts.
fn check_name(name: Id) -> Result<Id, Problem> {
    if record::builtin(Library::embedded(), &name).is_none() {
        return Ok(name);
    }
    let detail = format!("The name {name} is that of a script of this service.");
    Err(Problem::new(INVALID_ID, detail).with("parameter", "name"))
}
