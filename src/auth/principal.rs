//! A caller as its key makes it known.

use std::sync::Arc;

use super::{Requirement, Scope, ScopeSet, SpaceSet};
use crate::types::Id;

/// A caller, and what its key allows.
#[derive(Debug)]
pub struct Principal {
    /// The id of the key.
    pub key_id: Arc<str>,
    /// The name of the key.
    pub name: String,
    scopes: ScopeSet,
    spaces: SpaceSet,
    /// The id, a blank, and the name as JSON.
    actor: String,
    is_root: bool,
}

impl Principal {
    /// The caller with this key.
    pub fn new(key_id: &str, name: &str, scopes: ScopeSet, spaces: SpaceSet) -> Principal {
        let actor = format!("{key_id} {}", serde_json::Value::from(name));
        let (key_id, name) = (key_id.into(), name.to_owned());
        Principal { key_id, name, scopes, spaces, actor, is_root: false }
    }

    /// The caller with the root key, which may manage keys and nothing else.
    pub fn root(key_id: &str) -> Principal {
        let root = Principal::new(key_id, "root", ScopeSet::new(["keys:manage"]), SpaceSet::all());
        Principal { is_root: true, ..root }
    }

    /// True for the caller with the root key.
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// The caller as scripts write it into records: the id of the key, a blank, and its name as JSON.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// True if the key allows an operation that belongs to this scope.
    pub fn may(&self, scope: Scope, operation: &str) -> bool {
        self.scopes.allows(scope, operation)
    }

    /// Checks what an operation requires.
    ///
    /// # Errors
    ///
    /// The name of the scope that is missing.
    pub fn check(&self, requirement: &Requirement) -> Result<(), &'static str> {
        match requirement {
            Requirement::Open | Requirement::AnyKey => Ok(()),
            Requirement::Everything if self.scopes.has_all() => Ok(()),
            Requirement::Everything => Err("*"),
            Requirement::Scope { scope, operation, .. } if self.may(*scope, operation) => Ok(()),
            Requirement::Scope { scope, .. } => Err(scope.name()),
        }
    }

    /// The spaces that the key may be used in.
    pub fn spaces(&self) -> &SpaceSet {
        &self.spaces
    }

    /// True if the key may be used in this space.
    pub fn has_space(&self, space: &Id) -> bool {
        self.spaces.has(space)
    }
}
