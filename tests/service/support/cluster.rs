//! A cluster of several masters, with a replica for each where a test wants some.

use redis::{Value, from_redis_value};

use super::{Server, free_port, wait_for};

/// The number of hash slots of every cluster.
const SLOTS: usize = 16_384;

/// Masters and replicas that end when this value is dropped. Each master begins with an equal share of the slots.
pub struct Cluster {
    /// The masters first, then a replica of each where there are some.
    pub nodes: Vec<Server>,
    masters: usize,
}

impl Cluster {
    /// Starts masters without replicas.
    pub fn of_masters(masters: usize) -> Cluster {
        Cluster::start(masters, false, &[])
    }

    /// Starts masters for many tests at once, which do not fail one another while the machine is busy.
    pub fn of_busy_masters(masters: usize) -> Cluster {
        let cluster = Cluster::start(masters, false, &[]);
        for node in &cluster.nodes {
            node.command("CONFIG SET cluster-node-timeout 30000");
        }
        cluster
    }

    /// Starts masters and a replica of each.
    pub fn with_replicas(masters: usize) -> Cluster {
        Cluster::start(masters, true, &[])
    }

    /// Starts nodes, of which the masters are reached at other ports than their own, in the order of the masters.
    pub fn announcing(ports: &[(u16, u16)]) -> Cluster {
        Cluster::start(ports.len(), false, ports)
    }

    fn start(masters: usize, with_replicas: bool, ports: &[(u16, u16)]) -> Cluster {
        let count = if with_replicas { 2 * masters } else { masters };
        let nodes: Vec<_> = (0..count).map(|place| start_node(ports.get(place))).collect();
        let cluster = Cluster { nodes, masters };
        cluster.join();
        cluster
    }

    /// Gives the slots away, and makes the nodes known to one another.
    fn join(&self) {
        let first = self.nodes[0].host_and_port();
        for (place, node) in self.nodes.iter().enumerate() {
            node.command(&format!("CLUSTER SET-CONFIG-EPOCH {}", place + 1));
            if place < self.masters {
                let from = first_slot(place, self.masters);
                let to = first_slot(place + 1, self.masters) - 1;
                node.command(&format!("CLUSTER ADDSLOTSRANGE {from} {to}"));
            }
            if place > 0 {
                let bus = self.nodes[0].bus_port.unwrap();
                node.command(&format!("CLUSTER MEET {first} {bus}"));
            }
        }
        self.wait_for_all("all nodes to know each other", |info| {
            info.contains(&format!("cluster_known_nodes:{}\r", self.nodes.len()))
        });
        for (place, replica) in self.nodes.iter().enumerate().skip(self.masters) {
            let master = self.nodes[place - self.masters].cluster_id();
            wait_for("a replica to know its master", || {
                let mut replicate = redis::cmd("CLUSTER");
                replicate.arg("REPLICATE").arg(&master);
                replicate.exec(&mut replica.connection()).ok()
            });
        }
        self.wait_until_whole();
    }

    /// Waits until every node sees all slots served, and every replica follows its master.
    pub fn wait_until_whole(&self) {
        self.wait_for_all("the cluster", |info| {
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
        });
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            wait_for("a replica to follow its master", || {
                let mut info = redis::cmd("INFO");
                let info: String =
                    info.arg("replication").query(&mut node.try_connection()?).ok()?;
                let follows = info.contains("master_link_status:up");
                (info.contains("role:master") || follows).then_some(())
            });
        }
    }

    fn wait_for_all(&self, what: &str, holds: impl Fn(&str) -> bool) {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            wait_for(what, || {
                let mut info = redis::cmd("CLUSTER");
                let info: String = info.arg("INFO").query(&mut node.try_connection()?).ok()?;
                holds(&info).then_some(())
            });
        }
    }

    /// The URL of the first node alone, which knows the others.
    pub fn url(&self) -> String {
        self.nodes[0].url.clone()
    }

    /// A URL with all nodes.
    pub fn seeds(&self) -> String {
        let hosts = self.nodes.iter().map(|node| node.url.trim_start_matches("redis://"));
        format!("redis://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// The node that owns the slot of a space now, by the view of a node that runs.
    pub fn owner(&self, space: &str) -> &Server {
        wait_for("an owner of the slot", || {
            self.nodes.iter().find_map(|node| {
                let id = owner_of(&mut node.try_connection()?, slot_of(space))?;
                self.nodes.iter().find(|node| node.is_running() && node.cluster_id() == id)
            })
        })
    }

    /// The nodes that run and are no replicas.
    pub fn masters(&self) -> Vec<&Server> {
        let is_master = |node: &&Server| {
            let mut connection = node.try_connection()?;
            let info: String = redis::cmd("INFO").arg("replication").query(&mut connection).ok()?;
            info.contains("role:master").then_some(())
        };
        let running = self.nodes.iter().filter(|node| node.is_running());
        running.filter(|node| is_master(node).is_some()).collect()
    }
}

fn start_node(ports: Option<&(u16, u16)>) -> Server {
    let bus = free_port();
    let mut arguments = vec![
        "--cluster-enabled yes".to_owned(),
        format!("--cluster-port {bus}"),
        "--cluster-node-timeout 1000".to_owned(),
        "--cluster-require-full-coverage no".to_owned(),
        "--cluster-announce-hostname ''".to_owned(),
        "--repl-diskless-sync-delay 0".to_owned(),
    ];
    let port = match ports {
        Some((port, announced)) => {
            arguments.push(format!("--cluster-announce-port {announced}"));
            arguments.push("--cluster-announce-ip 127.0.0.1".to_owned());
            *port
        }
        None => free_port(),
    };
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut server = Server::start_at(port, &arguments);
    server.bus_port = Some(bus);
    server
}

/// The first slot of the master at a place, when the cluster begins.
pub(super) fn first_slot(place: usize, masters: usize) -> u16 {
    (SLOTS * place / masters).try_into().unwrap()
}

/// The slot of a space.
pub fn slot_of(space: &str) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(space.as_bytes()) % 16_384
}

/// The id of the node that owns a slot.
fn owner_of(connection: &mut redis::Connection, slot: u16) -> Option<String> {
    let reply: Value = redis::cmd("CLUSTER").arg("SLOTS").query(connection).ok()?;
    let Value::Array(entries) = reply else { return None };
    entries.into_iter().find_map(|entry| {
        let Value::Array(entry) = entry else { return None };
        let (from, to): (u16, u16) =
            (from_redis_value(entry[0].clone()).ok()?, from_redis_value(entry[1].clone()).ok()?);
        let Value::Array(master) = &entry[2] else { return None };
        if !(from..=to).contains(&slot) {
            return None;
        }
        from_redis_value(master[2].clone()).ok()
    })
}
