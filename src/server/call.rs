//! The call of a connection that has no answer yet. It is kept beside the HTTP library instead of inside it, so
//! that `connection` can park a connection whose call takes long, and write the answer with a new instance of the
//! library.

use std::{
    convert::Infallible,
    future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::http::{Method, Request, Response, Version, header};
use hyper::body::Incoming;

use super::{activity::Activity, exchange::AnswerBody};

/// The work on a call, which ends with its answer.
pub(super) type Answering<'c> = Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send + 'c>>;

/// A call that has no answer yet.
pub(super) struct Call<'c> {
    pub(super) answering: Answering<'c>,
    /// The activity of its connection, in which it counts.
    pub(super) activity: Arc<Activity>,
    method: Method,
    version: Version,
    /// The header `Connection`, as far as it says if the connection goes on after the answer.
    connection: &'static str,
}

impl<'c> Call<'c> {
    /// The head that a new instance of the HTTP library reads instead of the one that was read before: all that the
    /// form of the answer depends on.
    pub(super) fn head(&self) -> Vec<u8> {
        let Call { method, version, connection, .. } = self;
        format!("{method} / {version:?}\r\n{connection}\r\n").into_bytes()
    }

    /// The same call with its answer.
    pub(super) fn answered(self, answer: Response<AnswerBody>) -> Call<'c> {
        Call { answering: Box::pin(future::ready(answer)), ..self }
    }
}

/// The call that a connection is answering, if there is one. Clones share it.
#[derive(Clone, Default)]
pub(super) struct CurrentCall<'c>(Arc<Mutex<Option<Call<'c>>>>);

impl<'c> CurrentCall<'c> {
    pub(super) fn new(call: Option<Call<'c>>) -> CurrentCall<'c> {
        CurrentCall(Arc::new(Mutex::new(call)))
    }

    /// Begins to answer a request with what `begin` makes of it. Where there is a call already, the request is only the head
    /// of that, see [`Call::head`].
    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
        activity: &Arc<Activity>,
        begin: impl FnOnce(Request<Incoming>) -> Answering<'c>,
    ) -> CurrentCall<'c> {
        self.lock().get_or_insert_with(|| Call {
            method: request.method().clone(),
            version: request.version(),
            connection: connection_of(&request),
            activity: Arc::clone(activity),
            answering: begin(request),
        });
        self.clone()
    }

    /// True if there is a call without an answer.
    pub(super) fn is_unanswered(&self) -> bool {
        self.lock().is_some()
    }

    /// Takes the call away from the library, which is then given up.
    pub(super) fn take(&self) -> Option<Call<'c>> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Call<'c>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to the call, as the HTTP library waits for it.
impl Future for CurrentCall<'_> {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut current = self.lock();
        // A call that was taken away is answered by another instance of the library.
        let Some(call) = &mut *current else { return Poll::Pending };
        let answer = ready!(call.answering.as_mut().poll(context));
        *current = None;
        Poll::Ready(Ok(answer))
    }
}

/// The header `Connection` of a request without the options that say nothing about its end (RFC 9112, section 9.3).
fn connection_of(request: &Request<Incoming>) -> &'static str {
    let values = request.headers().get_all(header::CONNECTION).iter();
    let mut options =
        values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    options
        .find_map(|option| match option.trim() {
            close if close.eq_ignore_ascii_case("close") => Some("Connection: close\r\n"),
            keep if keep.eq_ignore_ascii_case("keep-alive") => Some("Connection: keep-alive\r\n"),
            _ => None,
        })
        .unwrap_or_default()
}
