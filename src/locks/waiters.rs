//! The waiters of this process: the calls of `POST /locks` that wait for their turn. However many they are,
//! they share one subscription to messages of Redis, and one heartbeat for each space.
//!
//! A script that lets the next one in publishes its number, and when it should try. Messages can be lost, so
//! every heartbeat also answers which waiters of this process are the first of their queues.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{acquisition::LockRequest, heartbeat::Heartbeat, names::LockNames};
use crate::{
    store::{Context, Listener, Notification, Store},
    types::{Id, Text},
};

/// The pause between two heartbeats. Scripts pass over the waiters of a process that they have not heard of
/// for 1.5 seconds, so a few may be late.
const HEARTBEAT: Duration = Duration::from_millis(300);

/// The most locks that one script of a heartbeat looks at. It takes Redis well under a millisecond.
const LOCKS_PER_HEARTBEAT: usize = 200;

/// Heartbeats and subscription go on for so long after the last waiter, because the next one may be near.
const IDLE: Duration = Duration::from_secs(5);

/// The first word of the message that a call under an idempotency key is answered. The others are its space and
/// the key.
const ENDED: &str = "ended";

/// All waiters of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Waiters(Arc<WaitersInner>);

#[derive(Default)]
struct WaitersInner {
    state: Mutex<WaiterTable>,
    /// Messages may have been lost, so a heartbeat should ask at once who is the first.
    messages_lost: Notify,
}

#[derive(Default)]
struct WaiterTable {
    last_number: u64,
    turns: HashMap<u64, Arc<Turn>>,
    /// By the message that tells that a call is answered: the waiters under the idempotency key of that call.
    repeats: HashMap<String, Vec<u64>>,
    spaces: HashMap<Id, SpaceWaiters>,
    /// True while the task runs that hears messages.
    is_listening: bool,
}

/// The waiters in one space.
#[derive(Default)]
struct SpaceWaiters {
    /// Numbers of the waiters.
    waiters: HashSet<u64>,
    /// By lock: how many of them wait for it.
    locks: BTreeMap<Id, usize>,
    /// True while the task runs that sends heartbeats.
    is_beating: bool,
}

/// The moment at which a waiter should try to acquire its locks.
#[derive(Default)]
pub struct Turn {
    at: Mutex<Option<Instant>>,
    changed: Notify,
}

/// The registration of a waiter in this process, until it is dropped.
pub struct LockWait {
    waiters: Waiters,
    space: Id,
    names: Arc<LockNames>,
    number: u64,
    turn: Arc<Turn>,
    /// The waiter as it stands in the queues.
    pub name: String,
    /// The message that the script publishes once the call is answered, for other calls under its idempotency key;
    /// empty for a call without one.
    pub ended_message: String,
}

impl Turn {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the moment, or moves it.
    fn set(&self, at: Instant) {
        *self.lock() = Some(at);
        self.changed.notify_one();
    }

    /// Forgets the moment, before a try: what is set from now on is news.
    pub fn clear(&self) {
        *self.lock() = None;
    }

    /// Sets the moment that the reply to a try names, unless a message has come meanwhile: it may be newer.
    pub fn set_if_none(&self, after: Option<Duration>) {
        let mut at = self.lock();
        if at.is_none() {
            *at = after.map(|after| Instant::now() + after);
        }
    }

    /// Resolves when the moment has come, or at the deadline.
    pub async fn due(&self, deadline: Instant) {
        loop {
            let at = self.lock().map_or(deadline, |at| at.min(deadline));
            // A timer would be up to a millisecond late.
            if at <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(at) => return,
                () = self.changed.notified() => {}
            }
        }
    }
}

impl Waiters {
    /// Registers a waiter, before its first try: then no message to it can be missed.
    pub fn register(&self, store: &Store, context: &Context, request: &LockRequest) -> LockWait {
        let Context { space, idempotency_key, .. } = context;
        let LockRequest { names, mode, owner, .. } = request;
        let ended_message = idempotency_key
            .as_ref()
            .map(|key| format!("{ENDED} {space} {key}"))
            .unwrap_or_default();
        let turn = Arc::new(Turn::default());
        let mut state = self.lock();
        state.last_number += 1;
        let number = state.last_number;
        state.turns.insert(number, Arc::clone(&turn));
        if !ended_message.is_empty() {
            state.repeats.entry(ended_message.clone()).or_default().push(number);
        }
        let of_space = state.spaces.entry(space.clone()).or_default();
        of_space.waiters.insert(number);
        for name in names.iter() {
            *of_space.locks.entry(name.clone()).or_default() += 1;
        }
        drop(state);
        metrics::gauge!("lockstep_lock_waiters").increment(1);
        let (process, mode) = (store.process(), &mode.as_str()[..1]);
        let name = format!("{process}:{number}:{mode}:{}", Text::json(Some(owner)));
        let (waiters, space, names) = (self.clone(), space.clone(), Arc::clone(names));
        LockWait { waiters, space, names, number, turn, name, ended_message }
    }

    fn lock(&self) -> MutexGuard<'_, WaiterTable> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a waiter when it should try, as a message or a heartbeat says: `<number> <milliseconds>`. The message
    /// that a call is answered has all waiters under its idempotency key try, who find that answer.
    fn deliver(&self, message: &str) {
        let Some((number, ms)) = message.split_once(' ') else { return };
        if number == ENDED {
            let state = self.lock();
            let repeats = state.repeats.get(message).into_iter().flatten();
            let turns = repeats.filter_map(|number| state.turns.get(number));
            return turns.for_each(|turn| turn.set(Instant::now()));
        }
        let (Ok(number), Ok(ms)) = (number.parse(), ms.parse()) else { return };
        // One that has gone meanwhile has a task that takes it out of the queue.
        let turn = self.lock().turns.get(&number).cloned();
        if let Some(turn) = turn {
            turn.set(Instant::now() + Duration::from_millis(ms));
        }
    }

    /// Has all waiters of a space try, but for one: they may have been passed over, and come back to their
    /// places.
    fn try_all(&self, space: &Id, except: Option<u64>) {
        let state = self.lock();
        let Some(of_space) = state.spaces.get(space) else { return };
        for number in of_space.waiters.iter().filter(|number| Some(**number) != except) {
            if let Some(turn) = state.turns.get(number) {
                turn.set(Instant::now());
            }
        }
    }

    /// Starts what a waiter in a queue needs, where it does not run: heartbeats and the subscription.
    pub fn keep_places(&self, store: &Store, space: &Id) {
        let mut state = self.lock();
        let listens = std::mem::replace(&mut state.is_listening, true);
        let of_space = state.spaces.entry(space.clone()).or_default();
        let beats = std::mem::replace(&mut of_space.is_beating, true);
        drop(state);
        if !listens {
            tokio::spawn(listen(Arc::downgrade(&self.0), store.listen()));
        }
        if !beats {
            tokio::spawn(beat(Arc::downgrade(&self.0), store.clone(), space.clone()));
        }
    }
}

impl LockWait {
    /// The moment at which it should try.
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Has the other waiters of its space try: this process was not heard of for too long.
    pub fn try_others(&self) {
        self.waiters.try_all(&self.space, Some(self.number));
    }
}

impl Drop for LockWait {
    fn drop(&mut self) {
        metrics::gauge!("lockstep_lock_waiters").decrement(1);
        let mut state = self.waiters.lock();
        state.turns.remove(&self.number);
        if let Some(repeats) = state.repeats.get_mut(&self.ended_message) {
            repeats.retain(|number| *number != self.number);
            if repeats.is_empty() {
                state.repeats.remove(&self.ended_message);
            }
        }
        let Some(of_space) = state.spaces.get_mut(&self.space) else { return };
        of_space.waiters.remove(&self.number);
        for name in self.names.iter() {
            if let Some(count) = of_space.locks.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    of_space.locks.remove(name);
                }
            }
        }
        if of_space.waiters.is_empty() && !of_space.is_beating {
            state.spaces.remove(&self.space);
        }
    }
}

/// Hears messages until nobody has waited for a while.
async fn listen(waiters: Weak<WaitersInner>, mut listener: Listener) {
    let mut last_used = Instant::now();
    loop {
        let notification = listener.next(IDLE).await;
        let Some(waiters) = waiters.upgrade().map(Waiters) else { return };
        let mut state = waiters.lock();
        if !state.turns.is_empty() {
            last_used = Instant::now();
        } else if last_used.elapsed() > IDLE {
            state.is_listening = false;
            return;
        }
        drop(state);
        match notification {
            Some(Notification::Message(message)) => waiters.deliver(&message),
            Some(Notification::Gap) => waiters.0.messages_lost.notify_waiters(),
            None => {}
        }
    }
}

/// Sends heartbeats for a space until nobody has waited there for a while.
async fn beat(waiters: Weak<WaitersInner>, store: Store, space: Id) {
    let context = Context::of_space(space.clone());
    let mut last_used = Instant::now();
    loop {
        let Some(shared) = waiters.upgrade().map(Waiters) else { return };
        let locks: Vec<Id> = {
            let mut state = shared.lock();
            let Some(of_space) = state.spaces.get_mut(&space) else { return };
            if !of_space.waiters.is_empty() {
                last_used = Instant::now();
            } else if last_used.elapsed() > IDLE {
                state.spaces.remove(&space);
                return;
            }
            of_space.locks.keys().cloned().collect()
        };
        let mut pause = HEARTBEAT;
        let mut parts = locks.chunks(LOCKS_PER_HEARTBEAT);
        let mut part = parts.next().unwrap_or_default();
        loop {
            let heartbeat = Heartbeat { process: store.process(), locks: part.to_vec() };
            // Without an answer the next heartbeat follows as usual.
            if let Ok(completed) = store.run(&heartbeat, &context).await {
                let reply = completed.reply;
                if !reply.was_alive {
                    shared.try_all(&space, None);
                }
                reply.firsts.iter().for_each(|first| shared.deliver(first));
                if reply.more {
                    pause = Duration::ZERO;
                }
            }
            match parts.next() {
                Some(next) => part = next,
                None => break,
            }
        }
        let heard_again = shared.0.messages_lost.notified();
        tokio::select! {
            () = heard_again => {}
            () = sleep(pause) => {}
        }
    }
}
