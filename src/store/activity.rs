//! ConnectionActivity of connections: how many were made, and what was sent on them. Every connection counts into that of
//! its pool or of its batch worker; `monitoring` shows both.

use std::{
    iter,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{Store, connection::Pool};

/// The counts of one pool, or of one batch worker, since the process started.
#[derive(Debug, Default)]
pub(super) struct ConnectionActivity {
    created: AtomicU64,
    lost: AtomicU64,
    commands: AtomicU64,
    errors: AtomicU64,
    busy_us: AtomicU64,
}

impl ConnectionActivity {
    /// Counts a connection that was made.
    pub fn count_created(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was given up because its server did not answer or was left.
    pub fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts commands that took `duration` together, and the errors among their replies; a pipeline that got
    /// no replies is one error.
    pub fn count_commands(&self, commands: usize, errors: usize, duration: Duration) {
        self.commands.fetch_add(commands as u64, Ordering::Relaxed);
        self.errors.fetch_add(errors as u64, Ordering::Relaxed);
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.busy_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// The connections of one pool, or of one batch worker, and what was sent on them.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionGroup {
    /// `worker-0` for a batch worker, the last ones for those whose calls wait for replicas; `pool` for probes and the sweeper; `transactions` for those by WATCH.
    pub name: String,
    /// The address of the server, where there are several.
    pub shard: Option<String>,
    /// Connections that were made since the process started.
    pub created: u64,
    /// Connections that wait for a user.
    pub idle: u64,
    /// Connections that have a user.
    pub in_use: u64,
    /// Calls that wait: in the queue of a batch worker, or for a connection of a pool.
    pub waiting: u64,
    /// The most calls that may wait; `None` where only a timeout bounds them.
    pub waiting_limit: Option<u64>,
    /// Connections that took the place of one that was lost.
    pub reconnects: u64,
    /// Commands that were sent. A script is one command, however many calls it carries.
    pub commands: u64,
    /// Commands that were answered by an error, and pipelines that got no answer.
    pub errors: u64,
    /// The time from the sending of pipelines to their last replies, together.
    pub busy: Duration,
}

impl Store {
    /// The bytes of calls that wait or are on their way, and the most that they may have.
    pub fn queue_bytes(&self) -> (usize, usize) {
        let limit = self.0.queue_bytes;
        (limit.saturating_sub(self.0.queue_room.available_permits()), limit)
    }

    /// The connections as they are now, server by server: those of batch workers first, then the pools.
    pub fn connection_groups(&self) -> Vec<ConnectionGroup> {
        let map = self.0.topology.map();
        let groups = map.nodes.iter().flat_map(|node| {
            let numbers = (0..node.queues.len()).map(|number| format!("worker-{number}"));
            let names = numbers.chain(iter::once("large-calls".to_owned()));
            let queues = node.queues.iter().chain(iter::once(&node.large_queue));
            let workers = names.zip(queues).zip(&node.worker_activity);
            let workers = workers.map(|((name, queue), activity)| of_worker(name, queue, activity));
            let pools =
                [of_pool("pool", &node.pool), of_pool("transactions", &node.transaction_pool)];
            let shard = map.is_cluster().then(|| node.name());
            let of_shard = move |group| ConnectionGroup { shard: shard.clone(), ..group };
            workers.chain(pools).map(of_shard).collect::<Vec<_>>()
        });
        groups.collect()
    }
}

fn of_worker<T>(
    name: String,
    queue: &mpsc::Sender<T>,
    activity: &ConnectionActivity,
) -> ConnectionGroup {
    let created = activity.created.load(Ordering::Relaxed);
    let waiting = queue.max_capacity() - queue.capacity();
    ConnectionGroup {
        name,
        in_use: created.min(1),
        waiting: waiting as u64,
        waiting_limit: Some(queue.max_capacity() as u64),
        reconnects: created.saturating_sub(1),
        ..of_activity(activity)
    }
}

fn of_pool(name: &str, pool: &Pool) -> ConnectionGroup {
    let status = pool.status();
    let activity = pool.manager().activity();
    ConnectionGroup {
        name: name.to_owned(),
        idle: status.available as u64,
        in_use: status.size.saturating_sub(status.available) as u64,
        waiting: status.waiting as u64,
        reconnects: activity.lost.load(Ordering::Relaxed),
        ..of_activity(activity)
    }
}

fn of_activity(activity: &ConnectionActivity) -> ConnectionGroup {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    ConnectionGroup {
        name: String::new(),
        shard: None,
        created: read(&activity.created),
        idle: 0,
        in_use: 0,
        waiting: 0,
        waiting_limit: None,
        reconnects: 0,
        commands: read(&activity.commands),
        errors: read(&activity.errors),
        busy: Duration::from_micros(read(&activity.busy_us)),
    }
}
