//! Sentinels: which server is the primary of a group now. `route` asks them for each connection, and [`Route::follow`]
//! each second.
//!
//! What a sentinel says may be old, so the server itself is asked for its role, and where that is no primary the next
//! sentinel is asked.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use super::{
    RawConnection, Route,
    address::HostPort,
    entry::ServerEntry,
    route::{ConnectError, Greeting, SeedKind, error_reply, lost, share},
};
use crate::store::{Failure, ScriptValue};

/// The time between two looks at whether the address of the primary has changed.
const POLL_PERIOD: Duration = Duration::from_secs(1);

/// The group whose primary is sought, and what is known of it.
pub(super) struct Sentinels {
    /// Its name, where one is given.
    group: Option<String>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The place, among those in the URL, of the sentinel that was right last.
    sentinel: usize,
    /// The address that it told, and that connections lead to.
    primary: Option<HostPort>,
}

impl Sentinels {
    pub fn of_group(name: Option<String>) -> Sentinels {
        Sentinels { group: name, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places of `count` sentinels, in the order in which they are asked: the one that was right last is the first.
    fn order(&self, count: usize) -> impl Iterator<Item = usize> {
        let first = self.known().sentinel;
        (0..count).map(move |index| (first + index) % count)
    }
}

impl Route {
    /// Asks a server what it is, where it tells.
    pub(super) async fn ask_kind(
        &self,
        host: &HostPort,
        entry: &ServerEntry,
        deadline: Instant,
    ) -> Result<SeedKind, Failure> {
        let mut connection = self.dial_host(host, entry, Greeting::None, deadline).await?;
        let reply = ask(&mut connection, entry, vec![b"INFO", b"server"]).await?;
        let is_sentinel = |line: &[u8]| {
            let line = line.trim_ascii_end();
            // Valkey has the second name beside the first, or instead of it.
            line == b"redis_mode:sentinel" || line == b"server_mode:sentinel"
        };
        match reply {
            ScriptValue::Bytes(info) if info.split(|byte| *byte == b'\n').any(is_sentinel) => {
                Ok(SeedKind::Sentinels)
            }
            // Why a server does not let the service in is found out, and told, when calls are to be sent to it.
            _ => Ok(SeedKind::Server),
        }
    }

    /// Connects to the server that a sentinel calls the primary, and that calls itself one.
    pub(super) async fn dial_primary(
        &self,
        sentinels: &[HostPort],
        entry: &ServerEntry,
        greeting: Greeting,
        deadline: Instant,
    ) -> Result<RawConnection, ConnectError> {
        let greeting = if greeting == Greeting::Login { Greeting::Primary } else { greeting };
        let mut tried = Vec::new();
        let mut error = ConnectError::Failed(self.not_in_time());
        for (turn, index) in self.sentinels.order(sentinels.len()).enumerate() {
            let until = Instant::now() + share(deadline, sentinels.len() - turn);
            let primary = match self.ask_primary(&sentinels[index], entry, until).await {
                Ok(primary) if tried.contains(&primary) => continue,
                Ok(primary) => primary,
                Err(reason) => {
                    error = reason;
                    continue;
                }
            };
            match self.dial_host(&primary, entry, greeting, until).await {
                Ok(connection) => {
                    self.note_primary(index, primary);
                    return Ok(connection);
                }
                Err(failure) => error = failure.into(),
            }
            tried.push(primary);
        }
        Err(error)
    }

    fn note_primary(&self, sentinel: usize, primary: HostPort) {
        let mut known = self.sentinels.known();
        known.sentinel = sentinel;
        if known.primary.as_ref() != Some(&primary) {
            tracing::info!(%primary, "the sentinels tell the address of the primary");
            known.primary = Some(primary);
        }
    }

    /// The address of the primary, as a sentinel tells it.
    async fn ask_primary(
        &self,
        sentinel: &HostPort,
        entry: &ServerEntry,
        deadline: Instant,
    ) -> Result<HostPort, ConnectError> {
        let asking = async {
            let mut connection = self.dial_host(sentinel, entry, Greeting::None, deadline).await?;
            let group = match &self.sentinels.group {
                Some(group) => group.clone(),
                None => only_group(&mut connection, entry).await?,
            };
            let words: Vec<&[u8]> = vec![b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", group.as_bytes()];
            match ask(&mut connection, entry, words).await? {
                ScriptValue::Array(parts) => {
                    let announced = read_address(&parts).ok_or_else(|| strange(&parts))?;
                    Ok(self.reachable(announced))
                }
                ScriptValue::Nil => Err(self.unknown_group(&mut connection, entry, &group).await),
                other => Err(error_reply(&other).unwrap_or_else(|| strange(&[other])).into()),
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        timeout(left, asking).await.map_err(|_| self.not_in_time())?
    }

    async fn unknown_group(
        &self,
        connection: &mut RawConnection,
        entry: &ServerEntry,
        group: &str,
    ) -> ConnectError {
        match groups(connection, entry).await {
            Ok(known) => ConnectError::Misfit(format!(
                "the sentinels know no group {group}: give --sentinel-master with one that they know ({})",
                known.join(", ")
            )),
            Err(failure) => failure.into(),
        }
    }

    /// Looks each second whether the sentinels tell another address than the one that connections lead to, and leaves
    /// the server then. Ends where there are no sentinels.
    pub async fn follow(&self) {
        loop {
            sleep(POLL_PERIOD).await;
            match self.found() {
                Some(SeedKind::Server) => return,
                Some(SeedKind::Sentinels) => {}
                None => continue,
            }
            let generation = self.generation();
            let known = self.sentinels.known().primary.clone();
            let asked = timeout(self.timeout, self.ask_any()).await;
            let told = asked.ok().flatten();
            if known.is_some() && told.is_some() && known != told {
                self.leave(generation);
            }
        }
    }

    /// The address that the first sentinel tells which answers.
    async fn ask_any(&self) -> Option<HostPort> {
        let entry = self.read_entry().await.ok()?;
        let (hosts, deadline) = (self.hosts(), Instant::now() + self.timeout);
        for (turn, index) in self.sentinels.order(hosts.len()).enumerate() {
            let until = Instant::now() + share(deadline, hosts.len() - turn);
            if let Ok(primary) = self.ask_primary(&hosts[index], &entry, until).await {
                return Some(primary);
            }
        }
        None
    }
}

/// The only group that a sentinel knows.
async fn only_group(
    connection: &mut RawConnection,
    entry: &ServerEntry,
) -> Result<String, ConnectError> {
    let mut groups = groups(connection, entry).await?;
    match groups.len() {
        1 => Ok(groups.remove(0)),
        0 => Err(ConnectError::Misfit("the sentinel knows no group of servers".to_owned())),
        _ => Err(ConnectError::Misfit(format!(
            "the sentinels know several groups: give --sentinel-master with one of {}",
            groups.join(", ")
        ))),
    }
}

/// The names of all groups that a sentinel knows, in alphabetical order.
async fn groups(
    connection: &mut RawConnection,
    entry: &ServerEntry,
) -> Result<Vec<String>, Failure> {
    let reply = ask(connection, entry, vec![b"SENTINEL", b"MASTERS"]).await?;
    let ScriptValue::Array(groups) = reply else {
        return Err(error_reply(&reply).unwrap_or_else(|| strange(&[reply])));
    };
    let name = |group: &ScriptValue| {
        let ScriptValue::Array(fields) = group else { return None };
        let mut pairs = fields.chunks_exact(2);
        pairs.find_map(|pair| (text(&pair[0])? == "name").then(|| text(&pair[1]))?)
    };
    let mut names: Vec<_> = groups.iter().filter_map(name).collect();
    names.sort_unstable();
    Ok(names)
}

/// Asks a question, and logs in and asks again where that is refused: many sentinels have no password, and it is not
/// sent to them in vain.
async fn ask(
    connection: &mut RawConnection,
    entry: &ServerEntry,
    words: Vec<&[u8]>,
) -> Result<ScriptValue, Failure> {
    let question = [words];
    let mut replies = connection.ask_all(&question).await.map_err(|error| lost(error, entry))?;
    let refused = |reply: &ScriptValue| matches!(reply, ScriptValue::Error(text) if text.starts_with("NOAUTH") || text.starts_with("NOPERM"));
    if replies.first().is_some_and(refused)
        && let Some(login) = entry.login_command()
    {
        let [words] = question;
        replies = connection.ask_all(&[login, words]).await.map_err(|error| lost(error, entry))?;
        if let Some(failure) = replies.first().and_then(error_reply) {
            return Err(failure);
        }
    }
    replies.pop().ok_or_else(|| strange(&[]))
}

/// The address in a reply of two strings.
fn read_address(parts: &[ScriptValue]) -> Option<HostPort> {
    let [host, port] = parts else { return None };
    format!("{}:{}", text(host)?, text(port)?).parse().ok()
}

fn text(value: &ScriptValue) -> Option<String> {
    match value {
        ScriptValue::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}

fn strange(reply: &[ScriptValue]) -> Failure {
    Failure::Unavailable(format!("the sentinel answered {reply:?}"))
}
