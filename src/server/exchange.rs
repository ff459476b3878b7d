//! One request of a connection and its answer: what only the connection knows of them. `connection`
//! runs the router through [`answer`]; `http2` keeps unread bodies with it.
//!
//! A refusal can come before the body of its request was read. The rest of a small body is then read and
//! dropped, and the connection goes on. With more to come the answer says `Connection: close`, so that
//! no caller and no gateway sends another request on it; `connection` reads on after it and closes
//! in order.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, Request, header},
};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::timeout;
use tower::Service;

use super::{
    activity::{Activity, InProgress},
    call::Answering,
};

/// The most bytes of an unread body after which a connection goes on.
const UNREAD_BYTES: usize = 64 * 1024;

/// The longest time that an answer waits for the rest of an unread body.
const UNREAD_TIMEOUT: Duration = Duration::from_millis(100);

/// Answers one request by the router. `is_ending` says, once the answer is there, whether the
/// connection is to end after it. The future has nothing of the request, because it lasts for as long as the caller
/// waits.
pub(super) fn answer<'c>(
    mut app: Router,
    request: Request<Incoming>,
    activity: &Arc<Activity>,
    is_ending: impl FnOnce() -> bool + Send + 'c,
) -> Answering<'c> {
    let call = activity.begin_call();
    let (request, unread) = with_kept_body(request, || Some(activity.begin_call()));
    let mut answering = app.call(request);
    Box::pin(async move {
        let response = match (&mut answering).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (mut response, is_read) = match unread.and_then(|unread| unread.take()) {
            None => (response, true),
            // In a box, so that a call that waits does not keep the room for it.
            Some(rest) => Box::pin(async move { (response, rest.read().await) }).await,
        };
        if !is_read || is_ending() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response.map(|body| AnswerBody { body, _call: call })
    })
}

/// Has what the handler leaves of the body of a request kept, if there is a body. `begin` counts that it is read.
pub(super) fn with_kept_body(
    request: Request<Incoming>,
    begin: impl FnOnce() -> Option<InProgress>,
) -> (Request<Body>, Option<Unread>) {
    let (head, incoming) = request.into_parts();
    let unread = (!incoming.is_end_stream()).then(Unread::default);
    let body = match &unread {
        None => Body::empty(),
        Some(unread) => Body::new(RequestBody {
            // A caller that waits for `100 Continue` is sent it with the first look at the body.
            awaits_continue: head.headers.contains_key(header::EXPECT),
            incoming: Some(incoming),
            unread: unread.clone(),
            in_progress: begin(),
        }),
    };
    (Request::from_parts(head, body), unread)
}

/// What a handler has left of the body of its request: nothing, as long as it has the body.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<Mutex<Option<Rest>>>);

/// A body that was dropped before its end.
pub(super) struct Rest {
    incoming: Incoming,
    _in_progress: Option<InProgress>,
    /// True if the caller sends it only when it is asked to.
    awaits_continue: bool,
}

impl Unread {
    pub(super) fn take(&self) -> Option<Rest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Rest {
    /// Reads a small rest. Returns false if there is more of it than that.
    async fn read(self) -> bool {
        let Rest { mut incoming, awaits_continue, _in_progress } = self;
        let declared = incoming.size_hint().lower();
        if awaits_continue || declared > UNREAD_BYTES as u64 {
            return false;
        }
        let reading = async {
            let mut bytes = 0;
            while let Some(frame) = incoming.frame().await {
                bytes += frame.ok()?.data_ref().map_or(0, Bytes::len);
                if bytes > UNREAD_BYTES {
                    return None;
                }
            }
            Some(())
        };
        matches!(timeout(UNREAD_TIMEOUT, reading).await, Ok(Some(())))
    }
}

/// The body of a request. Dropped before its end, it leaves the rest to [`Unread`].
struct RequestBody {
    /// Always there, until this is dropped.
    incoming: Option<Incoming>,
    awaits_continue: bool,
    unread: Unread,
    /// The same, as far as the activity of the connection is concerned.
    in_progress: Option<InProgress>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.awaits_continue = false;
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|incoming| !incoming.is_end_stream());
        if let Some(incoming) = rest {
            let awaits_continue = self.awaits_continue;
            let rest = Rest { incoming, awaits_continue, _in_progress: self.in_progress.take() };
            *self.unread.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        }
    }
}

/// The body of an answer. The call is in progress until all of it is written.
pub(super) struct AnswerBody {
    body: Body,
    _call: InProgress,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
