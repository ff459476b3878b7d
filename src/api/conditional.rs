//! Changes under `If-Match`. Every call that honours this header wraps its request in
//! [`Conditional`]: freezing, unfreezing, closing and updating an account, and updating a product.

use super::{Command, IfMatch, Result};
use crate::store::{Context, Operation, Store};

/// A request together with the versions of its record that it may change. This is the operation that
/// runs; on any other version its script refuses with `version_mismatch` and changes nothing.
#[derive(Debug)]
pub struct Conditional<C> {
    /// The change that the caller asks for.
    pub request: C,
    /// The versions that it may change, from the header `If-Match`.
    pub if_match: IfMatch,
}

impl<C> Conditional<C> {
    /// The same change to any version: a command of `POST /atomic` or `POST /bulk` has no headers of
    /// its own.
    pub fn on_any_version(request: C) -> Conditional<C> {
        Conditional { request, if_match: IfMatch::default() }
    }
}

impl<C> Conditional<C>
where
    C: Command<Operation = Conditional<C>>,
    Conditional<C>: Operation,
{
    /// Prepares and runs a command at its own endpoint, where `if_match` is the caller's.
    ///
    /// # Errors
    ///
    /// Those of [`Command::prepare`] and [`Command::answer`].
    pub async fn run(
        request: C,
        if_match: IfMatch,
        store: &Store,
        context: &Context,
    ) -> Result<C::Output> {
        let operation = Conditional { if_match, ..request.prepare(store, context).await? };
        C::answer(&operation, store.run(&operation, context).await)
    }
}
