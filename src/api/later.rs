//! Answers of handlers whose callers may wait for long.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, future::BoxFuture};

use super::middleware::panicked;

/// An answer that a handler leaves to [`super::middleware::around`] to wait for. The handler has returned by then, and
/// with it all that the router keeps for a call in progress, some kilobytes. A call that may wait for seconds answers
/// so; for any other it is not worth the words.
#[derive(Clone)]
pub struct Later(Arc<Mutex<Option<BoxFuture<'static, Response>>>>);

impl Later {
    /// The answer that a future ends with. It is dropped when the caller goes away.
    pub fn new<R: IntoResponse + 'static>(
        answering: impl Future<Output = R> + Send + 'static,
    ) -> Later {
        // An `async` block that awaits `answering` would have room for it twice.
        let answering = answering.map(IntoResponse::into_response);
        Later(Arc::new(Mutex::new(Some(answering.boxed()))))
    }

    /// Takes out what the answer to a call is still to be waited for with.
    pub(super) fn take(response: &mut Response) -> Option<impl Future<Output = Response> + use<>> {
        let Later(shared) = response.extensions_mut().remove()?;
        let answering = shared.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let answering = AssertUnwindSafe(answering).catch_unwind();
        Some(async move { answering.await.unwrap_or_else(panicked) })
    }
}

/// An empty response that the answer takes the place of.
impl IntoResponse for Later {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}
