//! The Redis, Valkey or cluster node that a test run starts, and those that single tests start for
//! themselves.

use std::{
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use lockstep::store::FORMAT;
use redis::Commands;
use rustix::process::{Pid, Signal, kill_process};

use super::{
    Cluster,
    cluster::{first_slot, slot_of},
    free_port, unique, wait_for,
};

/// The URL of the Redis that all tests of one process share; the first call starts it. It has the present
/// format from the beginning, because most tests write to it without a start of the program.
pub fn redis_url() -> &'static str {
    &shared()[0].url
}

/// The servers that all tests of one process share: one, or the masters of a cluster.
fn shared() -> &'static [Server] {
    static SERVERS: OnceLock<&[Server]> = OnceLock::new();
    // Dropping a server would end it, so they are kept until the process ends.
    SERVERS.get_or_init(|| {
        let masters = masters_of_this_run();
        let servers = if masters > 1 {
            &*Box::leak(Box::new(Cluster::of_busy_masters(masters))).nodes
        } else {
            std::slice::from_ref(Box::leak(Box::new(Server::of_this_run())))
        };
        let key = "lockstep:format";
        let format = format!("{{\"format\":{FORMAT}}}");
        let () = owner_among(servers, key).connection().set(key, format).unwrap();
        servers
    })
}

/// A connection to the shared Redis that has the keys of a space. It bypasses the service.
pub fn raw(space: &str) -> redis::Connection {
    owner_of(space).connection()
}

/// The shared Redis that has the keys of a space.
pub fn owner_of(space: &str) -> &'static Server {
    owner_among(shared(), space)
}

fn owner_among<'a>(servers: &'a [Server], tag: &str) -> &'a Server {
    // Masters that nobody moves slots between have the shares that they began with.
    let is_owner = |place: &usize| first_slot(*place, servers.len()) <= slot_of(tag);
    &servers[(0..servers.len()).rfind(is_owner).unwrap()]
}

/// The masters of the shared cluster, by `LOCKSTEP_TEST_CLUSTER`; 0 where tests share a single server.
fn masters_of_this_run() -> usize {
    let masters = std::env::var("LOCKSTEP_TEST_CLUSTER");
    masters
        .map_or(0, |masters| masters.parse().expect("LOCKSTEP_TEST_CLUSTER is a number of masters"))
}

/// A Redis that ends when this value is dropped, or when the test process ends for any reason.
pub struct Server {
    pub url: String,
    pub folder: String,
    /// The port at which the nodes of a cluster talk to it.
    #[allow(dead_code, reason = "only tests/distributed uses it")]
    pub bus_port: Option<u16>,
    /// The command line of the shell that starts it.
    script: String,
    shell: Child,
    /// The shells of the server as it was before it was started again.
    ended_shells: Vec<Child>,
}

impl Server {
    /// Starts the kind of server that this run tests: `LOCKSTEP_TEST_SERVER` names another program
    /// than redis-server, and `LOCKSTEP_TEST_CLUSTER` asks for nodes of a cluster. What a test starts for itself is
    /// one node with all slots.
    pub fn of_this_run() -> Server {
        let cluster = masters_of_this_run() > 0;
        let server = Server::start(if cluster { &["--cluster-enabled", "yes"] } else { &[] });
        if cluster {
            let mut connection = server.connection();
            let slots = redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16383).to_owned();
            slots.exec(&mut connection).unwrap();
            wait_for("the cluster", || {
                let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connection).ok()?;
                info.contains("cluster_state:ok").then_some(())
            });
        }
        server
    }

    /// Starts a server with these arguments and a data folder of its own.
    pub fn start(arguments: &[&str]) -> Server {
        Server::start_in(&unique("lockstep-test-"), arguments)
    }

    /// Starts a server on this port.
    pub fn start_on(port: u16) -> Server {
        Server::start_on_with(port, &[])
    }

    /// Starts a server on this port with these arguments.
    #[allow(dead_code, reason = "only tests/distributed uses it")]
    pub fn start_on_with(port: u16, arguments: &[&str]) -> Server {
        Server::launch(port, &unique("lockstep-test-"), arguments)
    }

    /// Starts a server whose data folder has this name within the system's temporary folder.
    pub fn start_in(name: &str, arguments: &[&str]) -> Server {
        Server::launch(free_port(), name, arguments)
    }

    /// Starts a server on this port with these arguments.
    #[allow(dead_code, reason = "only tests/distributed uses it")]
    pub fn start_at(port: u16, arguments: &[&str]) -> Server {
        Server::launch(port, &unique("lockstep-test-"), arguments)
    }

    fn launch(port: u16, name: &str, arguments: &[&str]) -> Server {
        let program = std::env::var("LOCKSTEP_TEST_SERVER").unwrap_or("redis-server".to_owned());
        let folder = std::env::temp_dir().join(name).display().to_string();
        std::fs::create_dir_all(&folder).unwrap();
        // The shell ends the server at the end of its input, which comes at the latest when this
        // process ends.
        let script = format!(
            "'{program}' --port {port} --bind 127.0.0.1 --save '' --appendonly no --dir '{folder}' {} \
             >/dev/null & read _; kill -9 $! 2>/dev/null; wait; rm -rf '{folder}'",
            arguments.join(" "),
        );
        let url = format!("redis://127.0.0.1:{port}");
        let shell = spawn_shell(&script);
        let (bus_port, ended_shells) = (None, Vec::new());
        let server = Server { url, folder, bus_port, script, shell, ended_shells };
        drop(server.connection());
        server
    }

    /// Starts the server again that was killed, with its folder, its port and its arguments.
    #[allow(dead_code, reason = "only tests/distributed uses it")]
    pub fn restart(&mut self) {
        let shell = spawn_shell(&self.script);
        self.ended_shells.push(std::mem::replace(&mut self.shell, shell));
        drop(self.connection());
    }

    /// Its id in a cluster.
    #[allow(dead_code, reason = "only tests/distributed uses it")]
    pub fn cluster_id(&self) -> String {
        redis::cmd("CLUSTER").arg("MYID").query(&mut self.connection()).unwrap()
    }

    /// A new connection, if the server accepts one now.
    #[allow(dead_code, reason = "only tests/distributed uses it")]
    pub fn try_connection(&self) -> Option<redis::Connection> {
        redis::Client::open(self.url.as_str()).unwrap().get_connection().ok()
    }

    /// True until it is killed.
    #[allow(dead_code, reason = "only tests/distributed uses it")]
    pub fn is_running(&self) -> bool {
        self.try_connection().is_some()
    }

    /// Has the server hang: it accepts connections and answers nothing until the result is dropped.
    pub fn hang(&self) -> Hanging {
        let process = self.process();
        kill_process(process, Signal::STOP).unwrap();
        Hanging(process)
    }

    /// Ends the server with SIGKILL.
    #[allow(dead_code, reason = "the tests of groups use it")]
    pub fn kill(&self) {
        kill_process(self.process(), Signal::KILL).unwrap();
    }

    fn process(&self) -> Pid {
        let info: String = redis::cmd("INFO").arg("server").query(&mut self.connection()).unwrap();
        let id =
            info.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
        Pid::from_raw(id.unwrap()).unwrap()
    }

    /// Its port.
    #[allow(dead_code, reason = "the tests of groups use it")]
    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Runs one command, such as `CONFIG SET maxmemory 1`.
    pub fn command(&self, line: &str) {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.exec(&mut self.connection()).unwrap();
    }

    /// Its address as REPLICAOF takes it.
    pub fn host_and_port(&self) -> String {
        self.url.trim_start_matches("redis://").replace(':', " ")
    }

    /// A new connection, as soon as the server accepts one.
    pub fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        wait_for("redis-server (is it installed?)", || client.get_connection().ok())
    }
}

fn spawn_shell(script: &str) -> Child {
    let shell = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn();
    shell.expect("a shell to start redis-server from")
}

/// A server that hangs until this value is dropped.
pub struct Hanging(Pid);

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for shell in std::iter::once(&mut self.shell).chain(&mut self.ended_shells) {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}
