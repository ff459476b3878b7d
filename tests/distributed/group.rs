//! A group of one primary and two replicas, with three sentinels that fail over within about a second.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{Commands, Value};

use crate::support::{Server, Service, free_port, unique, wait_for};

/// The name under which the sentinels know the group.
pub const NAME: &str = "orders";

/// Servers and their sentinels. All end when this value is dropped.
pub struct Group {
    /// In no order that lasts: any of them may be the primary.
    pub servers: Vec<Server>,
    pub sentinels: Vec<Sentinel>,
}

impl Group {
    pub fn start() -> Group {
        Group::start_with(&[])
    }

    /// Starts a group whose servers have these arguments, and returns when all of it is in sync.
    pub fn start_with(arguments: &[&str]) -> Group {
        let primary = Server::start(&[&["--repl-diskless-sync-delay", "0"], arguments].concat());
        let mut servers = vec![primary];
        for _ in 0..2 {
            servers.push(replica_of(servers[0].port(), free_port(), arguments));
        }
        let sentinels = (0..3).map(|_| Sentinel::start(servers[0].port())).collect();
        let group = Group { servers, sentinels };
        group.wait_until_whole();
        group
    }

    /// The URL with all sentinels.
    pub fn url(&self) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis://{}", hosts.join(","))
    }

    /// The service on the group.
    pub fn service(&self, change: impl FnOnce(&mut lockstep::store::Settings)) -> Service {
        Service::with(|settings| {
            settings.url = self.url();
            settings.timeout = Duration::from_secs(5);
            change(settings);
        })
    }

    /// The port that every sentinel takes for that of the primary.
    pub fn primary_port(&self) -> u16 {
        wait_for("the sentinels to agree", || {
            let ports: Vec<_> =
                self.sentinels.iter().map(Sentinel::primary_port).collect::<Option<_>>()?;
            ports.iter().all(|port| *port == ports[0]).then_some(ports[0])
        })
    }

    /// The primary, as all sentinels see it.
    pub fn primary(&self) -> &Server {
        let port = self.primary_port();
        self.servers.iter().find(|server| server.port() == port).unwrap()
    }

    /// The replicas.
    pub fn replicas(&self) -> Vec<&Server> {
        let port = self.primary_port();
        self.servers.iter().filter(|server| server.port() != port).collect()
    }

    /// Waits until the primary has two replicas in sync, and every sentinel knows the other two and both replicas:
    /// only then can the next failover succeed.
    pub fn wait_until_whole(&self) {
        wait_for_long("the group to be whole", || {
            let port = self.primary_port();
            let primary = self.servers.iter().find(|server| server.port() == port)?;
            let info: String =
                redis::cmd("INFO").arg("replication").query(&mut primary.connection()).ok()?;
            let in_sync = info.lines().filter(|line| line.contains("state=online")).count();
            let known = self.sentinels.iter().all(Sentinel::knows_all);
            (info.contains("role:master") && in_sync == 2 && known).then_some(())
        });
    }

    /// Has the sentinels make a replica the primary, and returns when they have. What was written before is not lost,
    /// as it may be where the primary dies.
    pub fn fail_over(&self) {
        let before = self.primary_port();
        let mut primary = self.primary().connection();
        // WAIT is about the writes of its own connection, and with them about all before.
        let () = primary.set("before the failover", 1).unwrap();
        let replicas: u64 = redis::cmd("WAIT").arg(2).arg(20_000).query(&mut primary).unwrap();
        assert_eq!(replicas, 2, "not all replicas have what was written");
        wait_for_long("a sentinel to begin the failover", || {
            self.sentinels[0].fail_over().then_some(())
        });
        wait_for_long("the failover", || (self.primary_port() != before).then_some(()));
    }

    /// Ends the primary with SIGKILL, and returns when the sentinels have another one and the old one has come back
    /// as its replica.
    pub fn kill_primary(&mut self) {
        let before = self.primary_port();
        let index = self.servers.iter().position(|server| server.port() == before).unwrap();
        self.servers[index].kill();
        let now = wait_for_long("the failover", || {
            let port = self.primary_port();
            (port != before).then_some(port)
        });
        drop(self.servers.remove(index));
        self.servers.push(replica_of(now, before, &[]));
    }
}

/// Starts a replica.
fn replica_of(primary: u16, port: u16, arguments: &[&str]) -> Server {
    let primary = format!("'127.0.0.1 {primary}'");
    let own = ["--replicaof", &primary, "--repl-diskless-sync-delay", "0"];
    Server::start_on_with(port, &[&own, arguments].concat())
}

/// Like `wait_for`, for what takes the servers seconds.
pub fn wait_for_long<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("waited in vain for {what}");
}

/// One sentinel.
pub struct Sentinel {
    pub port: u16,
    shell: Child,
}

impl Sentinel {
    fn start(primary: u16) -> Sentinel {
        Sentinel::watching(&[(NAME, primary)])
    }

    /// Starts a sentinel of these groups.
    pub fn watching(groups: &[(&str, u16)]) -> Sentinel {
        let port = free_port();
        let folder = std::env::temp_dir().join(unique("lockstep-sentinel-"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut lines = format!("port {port}\nbind 127.0.0.1\ndir {}\n", folder.display());
        for (name, primary) in groups {
            lines += &format!(
                "sentinel monitor {name} 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds {name} 500\n\
                 sentinel failover-timeout {name} 4000\n\
                 sentinel parallel-syncs {name} 2\n"
            );
        }
        let file = folder.join("sentinel.conf");
        std::fs::write(&file, lines).unwrap();
        // The shell ends the sentinel at the end of its input, as it does with servers.
        let script = format!(
            "redis-server '{}' --sentinel >/dev/null & read _; kill -9 $!; wait; rm -rf '{}'",
            file.display(),
            folder.display()
        );
        let shell = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn();
        let sentinel = Sentinel { port, shell: shell.unwrap() };
        wait_for("the sentinel", || sentinel.ask(&["PING"]));
        // Otherwise it takes it ten seconds to make the old primary a replica.
        let faster = ["INFO-PERIOD", "300", "PUBLISH-PERIOD", "300", "ASK-PERIOD", "300"];
        sentinel.ask(&[&["SENTINEL", "DEBUG"], faster.as_slice()].concat()).unwrap();
        sentinel
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn ask(&self, words: &[&str]) -> Option<Value> {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().ok()?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).ok()
    }

    fn primary_port(&self) -> Option<u16> {
        let reply = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
        let (_, port): (String, u16) = redis::from_redis_value(reply).ok()?;
        Some(port)
    }

    fn fail_over(&self) -> bool {
        self.ask(&["SENTINEL", "FAILOVER", NAME]).is_some()
    }

    /// True if it knows two other sentinels and two replicas, none of which is down.
    fn knows_all(&self) -> bool {
        let all = |what: &str| {
            let reply = self.ask(&["SENTINEL", what, NAME])?;
            redis::from_redis_value::<Vec<std::collections::HashMap<String, String>>>(reply).ok()
        };
        let Some(replicas) = all("REPLICAS") else { return false };
        let up = |replica: &std::collections::HashMap<String, String>| {
            replica["flags"] == "slave" && replica["master-link-status"] == "ok"
        };
        replicas.iter().filter(|replica| up(replica)).count() == 2
            && all("SENTINELS").is_some_and(|others| others.len() == 2)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
