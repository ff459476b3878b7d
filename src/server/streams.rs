//! The calls of one connection of HTTP/2: how many are in progress, how many their caller has taken back, and which
//! answers it does not take. `http2` decides by it when a connection is to end.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Buf, Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Timeouts, exchange::Rest};

/// The calls without an answer that a caller may take back; each answer that it gets permits one more, up to this
/// number. It may take back all that it has in progress twice over.
const TAKEN_BACK: usize = 256;

/// The time without a call after which a caller that was told to go away is not waited for.
const GOING_AWAY: Duration = Duration::from_secs(2);

/// The calls of one connection.
pub(super) struct Streams {
    /// Those in progress, to the end of their answers.
    calls: watch::Sender<usize>,
    state: Mutex<StreamsState>,
    /// Cancelled with the first call.
    begun: CancellationToken,
    /// Cancelled when the caller has taken back too many calls.
    flooded: CancellationToken,
    /// For the calls of all connections.
    free: Arc<Semaphore>,
}

struct StreamsState {
    /// The last time that a call began or ended.
    unchanged_since: Instant,
    /// How many calls may still be taken back.
    may_take_back: usize,
    /// The number of parts of answers that are there to be taken.
    untaken: usize,
    /// The last time that the caller took something of them, or that there was nothing to take.
    taken_at: Instant,
}

/// The next thing to do for a connection on which nothing has happened just now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StreamStep {
    /// Look again at this time.
    LookAt(Instant),
    /// Its caller has done nothing for too long, and is to be told to go away.
    Leave,
    /// Its caller was told to go away, and does not.
    Close,
    /// Its caller does not take an answer.
    Abandon,
}

/// A call in progress, until this is dropped.
pub(super) struct StreamCall {
    streams: Arc<Streams>,
    is_answered: bool,
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    /// The calls of a new connection. `free` has a permit for each call that all connections together may still begin.
    pub(super) fn new(free: Arc<Semaphore>) -> Arc<Streams> {
        Arc::new(Streams {
            calls: watch::Sender::new(0),
            state: Mutex::new(StreamsState {
                unchanged_since: Instant::now(),
                may_take_back: TAKEN_BACK,
                untaken: 0,
                taken_at: Instant::now(),
            }),
            begun: CancellationToken::new(),
            flooded: CancellationToken::new(),
            free,
        })
    }

    /// Counts a call, unless all connections together have too many.
    pub(super) fn begin(self: &Arc<Streams>) -> Option<StreamCall> {
        self.begun.cancel();
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        self.count(|calls| calls + 1);
        Some(StreamCall { streams: Arc::clone(self), is_answered: false, _permit: permit })
    }

    /// Waits for the first call.
    pub(super) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits until no call is in progress.
    pub(super) async fn idle(&self) {
        let _ = self.calls.subscribe().wait_for(|calls| *calls == 0).await;
    }

    /// Waits until a call is in progress.
    pub(super) async fn busy(&self) {
        let _ = self.calls.subscribe().wait_for(|calls| *calls > 0).await;
    }

    /// Waits until the caller has taken back too many calls.
    pub(super) async fn flooded(&self) {
        self.flooded.cancelled().await;
    }

    /// The time at which to look for the first time.
    pub(super) fn first_look(&self, timeouts: Timeouts) -> Instant {
        self.state().unchanged_since + timeouts.first_byte.min(shortest(timeouts))
    }

    /// Decides what to do at `now`, if the caller was told to go away at `left_at`.
    pub(super) fn next(
        &self,
        now: Instant,
        timeouts: Timeouts,
        left_at: Option<Instant>,
    ) -> StreamStep {
        let state = self.state();
        let untaken = (state.untaken > 0).then(|| state.taken_at + timeouts.body);
        if untaken.is_some_and(|deadline| deadline <= now) {
            return StreamStep::Abandon;
        }
        let mut look_at = untaken.unwrap_or(now + timeouts.body).min(now + shortest(timeouts));
        if *self.calls.borrow() == 0 {
            let (idle_end, next) = match left_at {
                Some(left_at) => {
                    (left_at.max(state.unchanged_since) + GOING_AWAY, StreamStep::Close)
                }
                None if self.begun.is_cancelled() => {
                    (state.unchanged_since + timeouts.keep_alive, StreamStep::Leave)
                }
                None => (state.unchanged_since + timeouts.first_byte, StreamStep::Leave),
            };
            if idle_end <= now {
                return next;
            }
            look_at = look_at.min(idle_end);
        } else if left_at.is_some() {
            look_at = look_at.min(now + GOING_AWAY);
        }
        StreamStep::LookAt(look_at)
    }

    /// Changes the number of calls in progress, and wakes those that wait for the first one or the end of the last.
    fn count(&self, change: impl FnOnce(usize) -> usize) {
        self.state().unchanged_since = Instant::now();
        self.calls.send_if_modified(|calls| {
            let before = *calls;
            *calls = change(before);
            (before == 0) != (*calls == 0)
        });
    }

    /// Notes that a call has an answer, or that it was taken back before.
    fn note_end(&self, is_answered: bool) {
        let mut state = self.state();
        if is_answered {
            state.may_take_back = TAKEN_BACK.min(state.may_take_back + 1);
        } else if state.may_take_back > 0 {
            state.may_take_back -= 1;
        } else {
            self.flooded.cancel();
        }
    }

    fn state(&self) -> MutexGuard<'_, StreamsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The least time that a caller has, from now on, for whatever it may have to do.
fn shortest(timeouts: Timeouts) -> Duration {
    timeouts.body.min(timeouts.keep_alive)
}

impl Drop for StreamCall {
    fn drop(&mut self) {
        self.streams.note_end(self.is_answered);
        self.streams.count(|calls| calls - 1);
    }
}

/// The body of an answer. The call is in progress until all of it is written.
pub(super) struct StreamBody {
    body: Body,
    /// The caller has to make room for the next part, unless that is not there yet.
    room: Option<Untaken>,
    call: Arc<StreamCall>,
    /// The unread rest of the body of the request. The library takes the whole call back with it, so that the answer comes first.
    /// It must not be dropped with an [`AnswerPart`], which the library drops under a lock that it takes for this, too.
    _rest: Option<Rest>,
}

impl StreamBody {
    pub(super) fn new(body: Body, mut call: StreamCall, rest: Option<Rest>) -> StreamBody {
        call.is_answered = true;
        let call = Arc::new(call);
        StreamBody { body, room: Some(Untaken::new(&call)), call, _rest: rest }
    }
}

impl HttpBody for StreamBody {
    type Data = AnswerPart;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<AnswerPart>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.room = frame.is_ready().then(|| Untaken::new(&self.call));
        let part = |bytes| AnswerPart { bytes, untaken: Untaken::new(&self.call) };
        frame.map_ok(|frame| frame.map_data(part))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer, until they are written or given up.
pub(super) struct AnswerPart {
    bytes: Bytes,
    untaken: Untaken,
}

impl Buf for AnswerPart {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.untaken.note_progress();
    }
}

/// Something that a caller has to take, until this is dropped.
struct Untaken(Arc<StreamCall>);

impl Untaken {
    fn new(call: &Arc<StreamCall>) -> Untaken {
        let mut state = call.streams.state();
        if state.untaken == 0 {
            state.taken_at = Instant::now();
        }
        state.untaken += 1;
        drop(state);
        Untaken(Arc::clone(call))
    }

    fn note_progress(&self) {
        self.0.streams.state().taken_at = Instant::now();
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.0.streams.state().untaken -= 1;
    }
}
