//! Administration: what the service asks Redis for itself. `monitoring` and `sweeper` call the functions of
//! the store; `cli` and `migration` use an [`AdminConnection`], which is there before the store is used.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{RedisError, RedisResult};

use super::{
    Access, Failure, FormatError, HostPort, Store, StoreMode,
    connection::{Connection, Route, checkout},
    rights::{self, CLUSTER_COMMANDS, Trial},
    topology::{Node, SlotRange, Slots, ask_slots, owned_tag, slot_of_key},
};
use crate::types::Id;

/// The oldest version of Redis that knows the flags of scripts. Every Valkey knows them.
const OLDEST_REDIS: u32 = 7;

/// The number of keys that one page of a scan looks at. It takes Redis well under a millisecond.
const SCAN_PAGE: u32 = 1000;

impl Store {
    /// The servers whose keys a scan walks through: the masters of a cluster, or the one server.
    pub fn shards(&self) -> Vec<Shard> {
        let map = self.0.topology.map();
        let shard = |node| Shard { node: Arc::clone(node), slots: map.owned_by(node) };
        map.nodes.iter().map(shard).collect()
    }

    /// The number of slots of a cluster that no node owns.
    pub fn unowned_slots(&self) -> usize {
        self.0.topology.map().unowned()
    }

    /// Reads one page of a scan through the keys of all spaces at a server, and returns the things of `kinds` on it
    /// as (kind, space, id), with the cursor of the next page. The scan begins and ends with cursor 0.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply.
    pub async fn scan<'a>(
        &self,
        shard: &Shard,
        kinds: &[&'a str],
        cursor: u64,
    ) -> Result<(u64, Vec<(&'a str, Id, Id)>), Failure> {
        let node = &shard.node;
        let mut connection = checkout(&node.pool, self.0.timeout).await?;
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(key_pattern(kinds)).arg("COUNT").arg(SCAN_PAGE);
        let page = command.query_async(&mut *connection).await;
        let (next, keys): (u64, Vec<String>) = page.map_err(|error| {
            self.0.topology.leave(node, connection.generation());
            read_failure(&error)
        })?;
        let things = keys.iter().filter_map(|key| {
            let (space, rest) = key.strip_prefix("lockstep:{")?.split_once("}:")?;
            let (kind, id) = rest.split_once(':')?;
            let kind = kinds.iter().find(|known| **known == kind)?;
            Some((*kind, Id::try_from(space.to_owned()).ok()?, Id::try_from(id.to_owned()).ok()?))
        });
        Ok((next, things.collect()))
    }
}

/// One of the servers of a store.
#[derive(Clone)]
pub struct Shard {
    pub(super) node: Arc<Node>,
    slots: Option<usize>,
}

impl Shard {
    /// The number that tells it from all others of this process.
    pub fn id(&self) -> u64 {
        self.node.id
    }

    /// Its address, for people.
    pub fn address(&self) -> String {
        self.node.name()
    }

    /// The number of slots that it owns; `None` for a single server.
    pub fn slots(&self) -> Option<usize> {
        self.slots
    }
}

/// The reason why the service does not start on a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartRefusal {
    /// The server gives no answer now, so nothing is known yet.
    #[error(transparent)]
    Unanswered(Failure),
    /// A setting does not fit what was found.
    #[error("{0}")]
    Settings(String),
    /// The server is too old.
    #[error("the server is Redis {0}: use Redis 7.0 or newer, or Valkey")]
    TooOld(String),
    /// The user of `--redis-url` may not run these commands.
    #[error("{}: grant it, see docs/operations.md", rights::sentence(.0))]
    MissingRights(Vec<String>),
    /// The user of `--redis-url` may not use the keys of the service.
    #[error(
        "the Redis user lacks a right to keys: grant it the key patterns lockstep:* and lockstep-data:* for \
         reading and writing, see docs/operations.md"
    )]
    MissingKeys,
    /// The user of `--redis-url` may not use the channels of the service.
    #[error(
        "the Redis user lacks a right to channels: grant it +publish, +subscribe and the channel pattern \
         &lockstep:*, see docs/operations.md"
    )]
    MissingChannels,
    /// `--redis-mode` asks for a cluster.
    #[error(
        "the server is no node of a cluster: give --redis-mode single or auto, or another --redis-url"
    )]
    NoCluster,
    /// `--redis-mode` asks for a single server.
    #[error("the server is a node of a cluster of several: give --redis-mode cluster or auto")]
    IsCluster,
    /// `--redis-url` has several addresses.
    #[error(
        "--redis-url has several addresses, and {0} is no sentinel and no node of a cluster: give the sentinels, nodes \
         of a cluster, or the address of the primary alone"
    )]
    SeveralServers(HostPort),
    /// Writes cannot wait for replicas.
    #[error("--wait-replicas needs the command WAIT, and the server refuses it: {0}")]
    NoWait(String),
    /// Keys were made, and the service would not ask for them.
    #[error(
        "the data have keys of callers: give the root key as --root-key-file or --root-key-sha256, or --insecure to let \
         everybody in without a key"
    )]
    HasKeys,
    /// The data have another format.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl From<RedisError> for StartRefusal {
    fn from(error: RedisError) -> StartRefusal {
        let details = error.detail().unwrap_or_default();
        if error.code() != Some("NOPERM") {
            return StartRefusal::Unanswered(read_failure(&error));
        }
        // Redis 7 and Valkey have other words for it, and both put the command in quotes.
        match details.split('\'').nth(1) {
            Some(command) => StartRefusal::MissingRights(vec![command.to_uppercase()]),
            None => StartRefusal::MissingKeys,
        }
    }
}

/// Connections of its own, for what comes before the first operation: the checks of the start, and
/// migrations. A pooled connection would need rights itself, and refuses data of another format.
pub struct AdminConnection {
    /// To the server that has the key `lockstep:format`.
    pub(super) connection: Connection,
    /// The slots of that server, where it is a node of a cluster.
    slots: Vec<SlotRange>,
    /// To the other masters of a cluster.
    pub(super) others: Vec<OtherMaster>,
    /// The commands that are needed because redirects are followed.
    cluster_commands: &'static [&'static str],
    /// The reason against the start that the connecting has shown.
    refusal: Option<StartRefusal>,
}

/// A master of a cluster beside the one that has the key `lockstep:format`.
pub(super) struct OtherMaster {
    slots: Vec<SlotRange>,
    /// The failure is that of the connecting, which ends nothing but what needs this master.
    pub connection: Result<Connection, Failure>,
}

impl AdminConnection {
    /// Connects to a server, or to all masters of a cluster. `timeout` is the longest wait for each connection, and
    /// for each reply.
    ///
    /// # Errors
    ///
    /// The reason why there is no connection to the server that has the key `lockstep:format`.
    pub async fn connect(
        url: &str,
        access: &Access,
        timeout: Duration,
    ) -> Result<AdminConnection, StartRefusal> {
        let base = Route::new(url, access, timeout).map_err(StartRefusal::Settings)?;
        AdminConnection::over(&Arc::new(base), access.mode, timeout).await
    }

    /// Connects to what a route leads to.
    pub(super) async fn over(
        base: &Arc<Route>,
        mode: StoreMode,
        timeout: Duration,
    ) -> Result<AdminConnection, StartRefusal> {
        let mut connection = base.connect().await?;
        let answer = ask_slots(&mut connection, timeout).await;
        let single = |refusal| AdminConnection {
            connection: connection.clone(),
            slots: Vec::new(),
            others: Vec::new(),
            cluster_commands: &[],
            refusal,
        };
        let slots = match answer {
            Ok(Slots::OfCluster(slots)) => slots,
            Ok(Slots::SingleServer) if mode == StoreMode::Cluster => {
                return Ok(single(Some(StartRefusal::NoCluster)));
            }
            Ok(Slots::SingleServer) => {
                let misplaced = base.misplaced().cloned().map(StartRefusal::SeveralServers);
                return Ok(single(misplaced));
            }
            Err(failure) if failure.to_string().contains("NOPERM") => {
                let right = vec!["CLUSTER|SLOTS".to_owned()];
                let refusal = StartRefusal::MissingRights(right);
                return Ok(single(mode.may_be_cluster().then_some(refusal)));
            }
            Err(failure) => return Err(StartRefusal::Unanswered(failure)),
        };
        let mut masters = masters_of(slots, base);
        let owns_format = |slots: &[SlotRange]| owns(slots, "lockstep:format");
        let Some(place) = masters.iter().position(|(_, slots)| owns_format(slots)) else {
            return Ok(single(None));
        };
        if masters.len() > 1 && !mode.may_be_cluster() {
            return Ok(single(Some(StartRefusal::IsCluster)));
        }
        let (route, slots) = masters.swap_remove(place);
        if !Arc::ptr_eq(&route, base) {
            connection = route.connect().await?;
        }
        let others = masters.into_iter().map(async |(route, slots)| OtherMaster {
            slots,
            connection: route.connect().await.map_err(Failure::from),
        });
        let others = join_all(others).await;
        let cluster_commands = if mode.may_be_cluster() { CLUSTER_COMMANDS } else { &[] };
        Ok(AdminConnection { connection, slots, others, cluster_commands, refusal: None })
    }

    /// The connection to the server that has a key.
    ///
    /// # Errors
    ///
    /// The reason why there is none.
    pub(super) fn owner_of(&mut self, key: &str) -> Result<&mut Connection, Failure> {
        match self.others.iter_mut().find(|other| owns(&other.slots, key)) {
            Some(other) => other.connection.as_mut().map_err(|failure| failure.clone()),
            None => Ok(&mut self.connection),
        }
    }

    /// True if another server than that of `lockstep:format` has a key.
    pub(super) fn is_elsewhere(&self, key: &str) -> bool {
        self.others.iter().any(|other| owns(&other.slots, key))
    }

    /// The connections to all servers that could be reached, each with a tag whose slot the server owns.
    pub(super) fn servers(&mut self) -> impl Iterator<Item = (&mut Connection, String)> {
        let tag = |slots: &[SlotRange]| {
            owned_tag(|slot| slots.is_empty() || slots.iter().any(|range| range.contains(slot)))
        };
        let others = self.others.iter_mut().filter_map(move |other| {
            let tag = tag(&other.slots);
            other.connection.as_mut().ok().map(|connection| (connection, tag))
        });
        std::iter::once((&mut self.connection, tag(&self.slots))).chain(others)
    }

    /// Checks that each server is new enough and that its user may run every command that the service needs.
    ///
    /// # Errors
    ///
    /// The reason against the start.
    pub async fn check_server(&mut self) -> Result<(), StartRefusal> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let also = self.cluster_commands;
        for (connection, tag) in self.servers() {
            match info(connection, "server").await.map_err(StartRefusal::from) {
                Ok(info) => check_version(&info)?,
                // The check of rights names this one with all others.
                Err(StartRefusal::MissingRights(_)) => {}
                Err(refusal) => return Err(refusal),
            }
            let missing = rights::missing(connection, Trial::Read, &tag, also).await?;
            match missing.as_slice() {
                [] => {}
                [publish, subscribe] if publish == "PUBLISH" && subscribe == "SUBSCRIBE" => {
                    return Err(StartRefusal::MissingChannels);
                }
                _ => return Err(StartRefusal::MissingRights(missing)),
            }
        }
        Ok(())
    }

    /// True if there is anything under a key.
    ///
    /// # Errors
    ///
    /// The reason why the server that has the key did not answer.
    pub async fn has(&mut self, key: &str) -> Result<bool, StartRefusal> {
        let connection = self.owner_of(key).map_err(StartRefusal::Unanswered)?;
        Ok(redis::cmd("EXISTS").arg(key).query_async(connection).await?)
    }

    /// The `maxmemory-policy` of the server, or of the first of several that has another than `noeviction`; `None`
    /// where one does not tell. Any policy but `noeviction` can evict money.
    ///
    /// # Errors
    ///
    /// The reason why a server did not answer.
    pub async fn eviction_policy(&mut self) -> Result<Option<String>, StartRefusal> {
        let mut policy = None;
        for (connection, _) in self.servers() {
            let info = info(connection, "memory").await?;
            policy = field(&info, "maxmemory_policy").map(str::to_owned);
            if policy.as_deref() != Some("noeviction") {
                break;
            }
        }
        Ok(policy)
    }

    /// Finds out whether writes can wait for replicas, at each server. No replica is waited for.
    ///
    /// # Errors
    ///
    /// The refusal of a server.
    pub async fn check_wait(&mut self) -> Result<(), StartRefusal> {
        for (connection, _) in self.servers() {
            let asked: RedisResult<u64> =
                redis::cmd("WAIT").arg(0).arg(1).query_async(connection).await;
            match asked {
                Ok(_) => {}
                Err(error) if error.code().is_some() => {
                    return Err(StartRefusal::NoWait(error.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The number of replicas that the server has, or all servers together.
    ///
    /// # Errors
    ///
    /// The reason why a server did not answer.
    pub async fn count_replicas(&mut self, timeout: Duration) -> Result<u32, StartRefusal> {
        let mut count = 0;
        for (connection, _) in self.servers() {
            let counted = connection.count_replicas(timeout).await;
            count += counted
                .map_err(|lost| StartRefusal::Unanswered(Failure::Unavailable(lost.cause)))?;
        }
        Ok(count)
    }
}

async fn info(connection: &mut Connection, section: &str) -> RedisResult<String> {
    redis::cmd("INFO").arg(section).query_async(connection).await
}

/// The masters of a cluster with their slots, by what the server of a route has told.
fn masters_of(
    slots: Vec<(SlotRange, HostPort)>,
    route: &Arc<Route>,
) -> Vec<(Arc<Route>, Vec<SlotRange>)> {
    let own = route.host_port();
    let mut masters: Vec<(Option<HostPort>, Vec<SlotRange>)> = Vec::new();
    for (range, HostPort { host, port }) in slots {
        let host_port = match host.is_empty() {
            true => own.as_ref().map(|own| HostPort { host: own.host.clone(), port }),
            false => Some(route.reachable(HostPort { host, port })),
        };
        match masters.iter_mut().find(|(known, _)| *known == host_port) {
            Some((_, ranges)) => ranges.push(range),
            None => masters.push((host_port, vec![range])),
        }
    }
    let to = |host_port: Option<HostPort>| match host_port {
        Some(host_port) if Some(&host_port) != own.as_ref() => Arc::new(route.to_node(&host_port)),
        _ => Arc::clone(route),
    };
    masters.into_iter().map(|(host_port, slots)| (to(host_port), slots)).collect()
}

/// True if the slot of a key is in one of the ranges.
fn owns(slots: &[SlotRange], key: &str) -> bool {
    let slot = slot_of_key(key);
    slots.iter().any(|range| range.contains(slot))
}

/// Refuses a server whose INFO has a version that is too old. Valkey tells the version of Redis that it
/// is compatible with.
fn check_version(info: &str) -> Result<(), StartRefusal> {
    let version = field(info, "redis_version").or(field(info, "valkey_version"));
    let major = |version: &str| version.split('.').next()?.parse::<u32>().ok();
    match version {
        Some(version) if major(version).is_some_and(|major| major < OLDEST_REDIS) => {
            Err(StartRefusal::TooOld(version.to_owned()))
        }
        _ => Ok(()),
    }
}

/// The value of a field in a reply to INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The failure of a command that has no effect: its outcome is never unknown.
pub(super) fn read_failure(error: &RedisError) -> Failure {
    match error.code() {
        Some(code) => Failure::from_error_reply(code, error.detail().unwrap_or_default()),
        None => Failure::Unavailable(error.to_string()),
    }
    .without_effect()
}

/// The pattern of the keys of `kinds`. MATCH has no alternatives, so the pattern has the ending that
/// the kinds have in common: `t_holds` of `account_holds` and `product_holds`.
fn key_pattern(kinds: &[&str]) -> String {
    let mut ending = kinds.first().copied().unwrap_or_default();
    while !kinds.iter().all(|kind| kind.ends_with(ending)) {
        ending = ending.get(1..).unwrap_or_default();
    }
    format!("lockstep:{{*}}:*{ending}:*")
}

#[cfg(test)]
mod tests {
    use super::{StartRefusal, check_version, key_pattern};

    #[test]
    fn one_pattern_matches_all_kinds() {
        assert_eq!(key_pattern(&["account_holds", "product_holds"]), "lockstep:{*}:*t_holds:*");
        assert_eq!(key_pattern(&["lease"]), "lockstep:{*}:*lease:*");
        assert_eq!(key_pattern(&["account_holds", "job"]), "lockstep:{*}:*:*");
    }

    #[test]
    fn only_redis_before_7_is_too_old() {
        for new in [
            "redis_version:7.0.15",
            "redis_version:8.4.0",
            "redis_version:7.2.4\r\nvalkey_version:9.0.0",
            "valkey_version:9.0.0",
            "",
        ] {
            assert_eq!(check_version(&format!("# Server\r\n{new}\r\n")), Ok(()));
        }
        assert_eq!(
            check_version("# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n"),
            Err(StartRefusal::TooOld("6.2.14".to_owned()))
        );
    }
}
