//! Callers' keys: made, listed, changed, rotated and revoked over the API, stored in a space that no caller can name,
//! and followed by every process.
//!
//! Each call has a file of its own; `description` has a key as callers read it, `record` as it is stored. `load`, `poll`
//! and `touch` are what [`follow_keys`] runs to keep the [`crate::auth::KeyRing`] of this process current. This file has
//! the routes that `app` serves.

pub mod codes;
mod create;
mod description;
mod follow;
mod get;
mod list;
mod load;
mod own;
mod poll;
mod record;
mod revoke;
mod rotate;
mod touch;
mod update;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::Problem,
    store::Store,
    types::{Id, codes as general},
};

pub use codes::CODES;
pub use follow::follow_keys;
pub use record::KEY_KINDS;

/// The kind of the records of keys.
const KEY: &str = "caller_key";

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(own::own))
        .routes(routes!(get::get, update::update))
        .routes(routes!(rotate::rotate))
        .routes(routes!(revoke::revoke))
}

/// The space of the keys of a service.
pub fn space() -> Id {
    Id::of_service("keys")
}

/// The Redis key that exists once a key was made.
pub fn version_key() -> String {
    format!("lockstep:{{{}}}:caller_keys:version", space())
}

/// The problem of a key that could not be made.
fn no_random_numbers(cause: String) -> Problem {
    Problem::from(general::INTERNAL_ERROR).caused_by(cause)
}
