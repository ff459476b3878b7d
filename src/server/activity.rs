//! What a connection is doing: whether a call is in progress, since when a head is arriving, and since
//! when nothing happens. `connection` decides by it when a connection has been slow or idle for too
//! long.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The activity of one connection. Its stream and the bodies of its calls report to it.
#[derive(Debug)]
pub(super) struct Activity(Mutex<ActivityState>);

#[derive(Debug)]
struct ActivityState {
    /// Bodies of requests that are not read, and calls whose answer is not written, to their end.
    calls: usize,
    /// The arrival of the first byte of a head that is not complete yet.
    head_since: Option<Instant>,
    /// The last time that a call, or the body of one, began or ended.
    unchanged_since: Instant,
    /// True while the caller's side takes no more bytes.
    blocked: bool,
}

/// The next thing to do for a connection on which nothing has happened just now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again at this time.
    LookAt(Instant),
    /// It is idle or waits for an answer, and does not need what reading and writing need.
    Park,
    /// Its caller has taken too long for the head of a request.
    Close,
}

/// A call in progress, until this is dropped.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Activity> {
        Arc::new(Activity(Mutex::new(ActivityState {
            calls: 0,
            head_since: None,
            unchanged_since: Instant::now(),
            blocked: false,
        })))
    }

    /// Counts a call, whose head is complete.
    pub(super) fn begin_call(self: &Arc<Activity>) -> InProgress {
        let mut state = self.state();
        state.calls += 1;
        state.unchanged_since = Instant::now();
        state.head_since = None;
        drop(state);
        InProgress(Arc::clone(self))
    }

    /// Bytes have arrived. Between two calls they belong to the head of the next one.
    pub(super) fn bytes_arrived(&self) {
        let mut state = self.state();
        if state.calls == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// The caller's side takes bytes, or does not take them.
    pub(super) fn set_blocked(&self, blocked: bool) {
        self.state().blocked = blocked;
    }

    /// Decides what to do at `now`, if a head may take `head_timeout` and a connection is parked
    /// after it has been idle for `park_after`. `waits` is true while a call has no answer, for which it is parked
    /// too, once its body is read.
    pub(super) fn next(
        &self,
        now: Instant,
        head_timeout: Duration,
        park_after: Duration,
        waits: bool,
    ) -> Next {
        let state = self.state();
        if let Some(since) = state.head_since {
            let deadline = since + head_timeout;
            return if deadline <= now { Next::Close } else { Next::LookAt(deadline) };
        }
        if state.calls > usize::from(waits) || state.blocked {
            return Next::LookAt(now + park_after.min(head_timeout));
        }
        let deadline = state.unchanged_since + park_after;
        match deadline <= now {
            true => Next::Park,
            // A head may begin at once.
            false => Next::LookAt(deadline.min(now + head_timeout)),
        }
    }

    fn state(&self) -> MutexGuard<'_, ActivityState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.calls -= 1;
        state.unchanged_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const PARK: Duration = Duration::from_secs(1);

    #[test]
    fn a_connection_is_parked_only_between_calls() {
        let activity = Activity::new();
        let call = activity.begin_call();
        let later = Instant::now() + 2 * PARK;
        assert_eq!(activity.next(later, HEAD, PARK, false), Next::LookAt(later + PARK));
        drop(call);
        let idle_since = activity.state().unchanged_since;
        assert_eq!(activity.next(idle_since, HEAD, PARK, false), Next::LookAt(idle_since + PARK));
        activity.set_blocked(true);
        assert!(matches!(activity.next(later, HEAD, PARK, false), Next::LookAt(_)));
        activity.set_blocked(false);
        assert_eq!(activity.next(later, HEAD, PARK, false), Next::Park);
        assert_eq!(activity.next(later, PARK, HEAD, false), Next::LookAt(later + PARK));
    }

    #[test]
    fn a_connection_is_parked_while_its_caller_waits_for_the_answer() {
        let activity = Activity::new();
        let later = || Instant::now() + 2 * PARK;
        let (call, body) = (activity.begin_call(), activity.begin_call());
        assert!(matches!(activity.next(later(), HEAD, PARK, true), Next::LookAt(_)));
        drop(body);
        let body_end = activity.state().unchanged_since;
        assert_eq!(activity.next(body_end, HEAD, PARK, true), Next::LookAt(body_end + PARK));
        assert_eq!(activity.next(later(), HEAD, PARK, true), Next::Park);
        // An answer that is written to the end of its body waits for nothing.
        assert!(matches!(activity.next(later(), HEAD, PARK, false), Next::LookAt(_)));
        activity.set_blocked(true);
        assert!(matches!(activity.next(later(), HEAD, PARK, true), Next::LookAt(_)));
        drop(call);
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte() {
        let activity = Activity::new();
        activity.bytes_arrived();
        let began = activity.state().head_since.unwrap();
        activity.bytes_arrived();
        assert_eq!(activity.next(began + HEAD / 2, HEAD, PARK, false), Next::LookAt(began + HEAD));
        assert_eq!(activity.next(began + HEAD, HEAD, PARK, false), Next::Close);
        // Once it is complete, it is a call.
        let call = activity.begin_call();
        activity.bytes_arrived();
        assert!(matches!(activity.next(began + HEAD, HEAD, PARK, false), Next::LookAt(_)));
        drop(call);
        assert_ne!(activity.next(began + HEAD, HEAD, PARK, false), Next::Close);
    }
}
