//! The scope that a call requires of its caller's key. `app` derives it for every operation of the document, and
//! `api::middleware` checks it before a handler runs.

use super::Scope;

/// The requirement of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// It is open to everybody.
    Open,
    /// Any key will do; what is in the call is checked by itself.
    AnyKey,
    /// The key has the scope `*`.
    Everything,
    /// The key has this scope, or names the operation.
    Scope {
        /// The scope that the operation belongs to.
        scope: Scope,
        /// The name of the operation, such as `accounts/transfer`.
        operation: String,
        /// True if the operation is about the whole server, so that the key has to have all spaces.
        all_spaces: bool,
    },
}

impl Requirement {
    /// The requirement of an operation. `writes` says if it may change something. `declared` is what its declaration
    /// names in place of what follows from that: `open`, `any key`, or a scope.
    ///
    /// # Errors
    ///
    /// The sentence that says why the operation has none.
    pub fn of_operation(
        operation: &str,
        writes: bool,
        declared: Option<&str>,
        all_spaces: bool,
    ) -> Result<Requirement, String> {
        let scope = match declared {
            Some("open") => return Ok(Requirement::Open),
            Some("any key") => return Ok(Requirement::AnyKey),
            Some(scope) => Scope::named(scope),
            None => Scope::of_operation(operation, writes),
        };
        let scope = scope.ok_or_else(|| format!("{operation} belongs to no scope"))?;
        Ok(Requirement::Scope { scope, operation: operation.to_owned(), all_spaces })
    }
}
