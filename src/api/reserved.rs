//! Names that the paths of the service would hide. Where `POST /counters/set` is a path, a counter called
//! `set` could not be read at `GET /counters/set`, so it is never made.

use std::collections::BTreeSet;

use utoipa_axum::router::OpenApiRouter;

use super::Problem;
use crate::{
    store::Store,
    types::{Id, Invalid},
};

/// The names that the paths of a router hide from one parameter of a path.
#[derive(Debug)]
pub struct ReservedNames(BTreeSet<String>);

impl ReservedNames {
    /// What the paths of `router` hide where `path` ends with a parameter, such as
    /// `/accounts/{account_id}`: the words that other paths have in its place.
    pub fn beside(router: OpenApiRouter<Store>, path: &str) -> ReservedNames {
        let before = path.rsplit_once('/').map_or("", |(before, _)| before);
        let document = router.into_openapi();
        let words = document.paths.paths.keys().filter_map(|other| {
            let word = other.strip_prefix(before)?.strip_prefix('/')?.split('/').next()?;
            (!word.is_empty() && !word.starts_with('{')).then(|| word.to_owned())
        });
        ReservedNames(words.collect())
    }

    /// The same names and one more, which has a meaning of its own.
    #[must_use]
    pub fn and(mut self, name: &str) -> ReservedNames {
        self.0.insert(name.to_owned());
        self
    }

    /// Returns the id of a resource that a call may make.
    ///
    /// # Errors
    ///
    /// `invalid_id` at `pointer` if the id is reserved.
    pub fn check(&self, id: Id, pointer: &str) -> Result<Id, Problem> {
        self.check_id(id).map_err(|invalid| Problem::invalid(&invalid, pointer))
    }

    /// The same for an id whose place in the body is not known yet.
    ///
    /// # Errors
    ///
    /// `invalid_id` if the id is reserved.
    pub fn check_id(&self, id: Id) -> Result<Id, Invalid> {
        self.check_name(id.as_str()).map(|()| id)
    }

    /// The same for a name that is no id.
    ///
    /// # Errors
    ///
    /// `invalid_id` if the name is reserved.
    pub fn check_name(&self, name: &str) -> Result<(), Invalid> {
        match self.0.contains(name) {
            true => {
                let detail = format!("The id {name} is a word of this service.");
                Err(Invalid::new("invalid_id", detail))
            }
            false => Ok(()),
        }
    }
}
