//! Tests of what waits for replicas: every write where a setting says so, and grants of locks wherever there are some.

use std::{fs::File, process::Stdio, time::Duration};

use redis::Commands;
use serde_json::{Value, json};

use crate::support::{
    Answer, Process, Server, Service, operation, race, unique, wait_for, wait_until,
};

/// A server with replicas that are in sync, and the service on it.
struct Replicated {
    primary: Server,
    replicas: Vec<Server>,
    service: Service,
}

impl Replicated {
    fn start(replicas: usize, wait_replicas: u32) -> Replicated {
        let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
        let service = service_that_waits(&primary, wait_replicas, PATIENT);
        let mut replicated = Replicated { primary, replicas: Vec::new(), service };
        for _ in 0..replicas {
            replicated.add_replica();
        }
        replicated
    }

    /// Another service with the same space.
    fn another(&self, wait_replicas: u32, wait_timeout: Duration) -> Service {
        service_that_waits(&self.primary, wait_replicas, wait_timeout).in_space(&self.service.space)
    }

    /// Starts a replica, and returns when it is in sync.
    fn add_replica(&mut self) {
        let address = format!("'{}'", self.primary.host_and_port());
        self.replicas.push(Server::start(&["--replicaof", &address]));
        let count = self.replicas.len();
        let mut connection = self.primary.connection();
        wait_for("the replica to be in sync", || {
            let info: String = redis::cmd("INFO").arg("replication").query(&mut connection).ok()?;
            (info.matches("state=online").count() == count).then_some(())
        });
    }
}

/// A wait that ends with the replicas, not with the time: no machine is so busy that it decides the result.
const PATIENT: Duration = Duration::from_secs(10);
/// A wait whose end is what the test asks for.
const IMPATIENT: Duration = Duration::from_millis(500);

fn service_that_waits(primary: &Server, replicas: u32, timeout: Duration) -> Service {
    Service::with(|settings| {
        settings.url.clone_from(&primary.url);
        settings.batch_workers = 1;
        (settings.wait_replicas, settings.wait_timeout) = (replicas, timeout);
    })
}

fn replicas_of(answer: &Answer) -> Option<u32> {
    answer.header("lockstep-replicas").map(|count| count.parse().unwrap())
}

/// All calls that write tell it, whatever way they go to the server; reads wait for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn every_write_tells_how_many_replicas_have_it() {
    let Replicated { service, .. } = &Replicated::start(2, 2);
    service.open("alice", "10").await;
    let source = "return redis.call('INCR', KEYS[1])";
    let script = json!({ "source": source, "keys": ["k"] });
    service.put("/scripts/s", script).await.assert(201);
    let incr = json!({ "operations": [{ "type": "incr", "key": "n" }] });
    let watching = json!({ "watch": ["n"], "operations": [{ "type": "incr", "key": "n" }] });
    let both = [
        operation("counters/increment", json!({ "counter": "a" })),
        operation("counters/increment", json!({ "counter": "b" })),
    ];
    for (call, status) in [
        (service.deposit("alice", "1"), 201),
        (service.deposit("alice", "1").key("d"), 201),
        (service.deposit("alice", "1").key("d"), 201),
        (service.withdraw("alice", "1000"), 409),
        (service.atomic(&both), 200),
        (service.post("/batch", incr.clone()), 200),
        (service.post("/transactions", incr), 200),
        (service.post("/transactions", watching), 200),
        (service.post("/scripts/s/run", json!({ "keys": ["k"], "args": [] })), 200),
        (service.acquire("l", "me", 60_000), 201),
        (service.increment("c", 1), 200),
    ] {
        let answer = call.await;
        assert_eq!(answer.status.as_u16(), status, "{:#}", answer.body);
        assert_eq!(replicas_of(&answer), Some(2), "{:#}", answer.body);
    }
    for path in ["/accounts/alice", "/counters/c", "/locks/l", "/accounts/integrity"] {
        let answer = service.get(path).await;
        assert_eq!((answer.status.as_u16(), replicas_of(&answer)), (200, None), "{path}");
    }
    let deposits = race(200, |_| service.deposit("alice", "1")).await;
    assert_eq!(deposits.count(201), 200);
    assert_eq!(service.balance("alice").await, "212.00");
}

/// The effect is there, nothing says that it stays, and a repeat under the key waits again and has no second effect.
#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_are_told_and_a_repeat_waits_again() {
    let mut replicated = Replicated::start(0, 1);
    let impatient = &replicated.another(1, IMPATIENT);
    let body = json!({ "account_id": "alice" });
    impatient.post("/accounts", body).key("open").await.expect_problem(504, "not_durable");
    let with_key = |service: &Service| service.deposit("alice", "1").key("d");
    for _ in 0..2 {
        let problem = with_key(impatient).await.expect_problem(504, "not_durable");
        assert_eq!((&problem["outcome"], &problem["retryable"]), (&json!("unknown"), &json!(true)));
        assert_eq!((&problem["replicas"], &problem["required"]), (&json!(0), &json!(1)));
    }
    let problem = impatient.deposit("alice", "1").await.expect_problem(504, "not_durable");
    assert_eq!((&problem["outcome"], &problem["retryable"]), (&json!("unknown"), &json!(false)));
    assert_eq!(impatient.balance("alice").await, "2.00");
    let watching = json!({ "watch": ["n"], "operations": [{ "type": "incr", "key": "n" }] });
    let watching = |service: &Service| service.post("/transactions", watching.clone()).key("t");
    watching(impatient).await.expect_problem(504, "not_durable");

    replicated.add_replica();
    let service = &replicated.service;
    let repeated = with_key(service).await;
    assert_eq!(repeated.status.as_u16(), 201, "{:#}", repeated.body);
    assert_eq!(repeated.header("idempotent-replayed"), Some("true"));
    assert_eq!(replicas_of(&repeated), Some(1));
    assert_eq!(watching(service).await.assert(200)["results"][0]["result"], json!(1));
    assert_eq!(service.balance("alice").await, "2.00");
}

/// A connection that waits reads nothing more, and reads do not stand behind it.
#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_while_writes_wait_for_a_replica_that_hangs() {
    let replicated = Replicated::start(1, 1);
    let service = &replicated.service;
    service.open("alice", "0").await;
    let hanging = replicated.replicas[0].hang();
    let deposit = tokio::spawn(service.deposit("alice", "1").key("d").into_future());
    // The write is there before it is acknowledged.
    wait_until("the deposit", async || service.balance("alice").await == "1.00").await;
    assert!(!deposit.is_finished());
    for _ in 0..100 {
        assert_eq!(service.balance("alice").await, "1.00");
    }
    assert!(!deposit.is_finished(), "reads stood behind the write");
    drop(hanging);
    let deposit = deposit.await.unwrap();
    assert_eq!(replicas_of(&deposit), Some(1));
    deposit.assert(201);
}

/// The replies to a batch are known although its WAIT is lost, so only what has no second effect is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_wait_is_asked_for_again() {
    let replicated = Replicated::start(1, 1);
    let service = &replicated.service;
    service.open("alice", "0").await;
    let hanging = replicated.replicas[0].hang();
    // Through two services, since what comes second on a connection stands behind the wait of the first.
    let other = replicated.another(1, PATIENT);
    let with_key = tokio::spawn(service.deposit("alice", "1").key("d").into_future());
    let without = tokio::spawn(other.deposit("alice", "1").into_future());
    // A call whose script the server did not know has waited too, and has done nothing yet.
    let are_done = async || service.balance("alice").await == "2.00";
    wait_until("both deposits", are_done).await;
    let mut raw = replicated.primary.connection();
    let both = wait_for("both to wait", || {
        let clients = clients_that_wait(&mut raw);
        (clients.len() == 2).then_some(clients)
    });
    for client in both {
        let () = redis::cmd("CLIENT").arg(&["KILL", "ID", &client]).query(&mut raw).unwrap();
    }
    drop(hanging);
    with_key.await.unwrap().assert(201);
    let problem = without.await.unwrap().expect_problem(504, "not_durable");
    assert_eq!(problem["replicas"], Value::Null);
    assert_eq!(service.balance("alice").await, "2.00");
}

fn clients_that_wait(raw: &mut redis::Connection) -> Vec<String> {
    let clients: String = redis::cmd("CLIENT").arg("LIST").query(raw).unwrap();
    let is_waiting = |line: &&str| line.contains(" flags=b ") && line.contains(" cmd=wait ");
    let waiting = clients.lines().filter(is_waiting);
    let id = |line: &str| line.split(' ').next().unwrap().trim_start_matches("id=").to_owned();
    waiting.map(id).collect()
}

/// Without the setting only grants of locks wait, and only where there is a replica.
#[tokio::test(flavor = "multi_thread")]
async fn grants_of_locks_wait_wherever_there_is_a_replica() {
    let mut replicated = Replicated::start(0, 0);
    let service = replicated.service.clone();
    assert_eq!(replicas_of(&service.acquire("a", "me", 60_000).await), None);
    replicated.add_replica();
    let granted = async || replicas_of(&service.acquire(&unique("l"), "me", 60_000).await);
    // It is asked once a second whether there are replicas.
    wait_until("a grant that waits", async || granted().await.is_some()).await;
    let lease = service.acquire("b", "me", 60_000).await;
    assert_eq!(replicas_of(&lease), Some(1));
    let lease = lease.assert(201);
    let renewal = json!({ "lock": "b", "lease_id": lease["lease_id"], "ttl_ms": 60_000 });
    let renewed = service.post("/locks/renew", renewal.clone()).await;
    assert_eq!(replicas_of(&renewed), Some(1));
    renewed.assert(200);
    assert_eq!(replicas_of(&service.increment("c", 1).await), None);

    let impatient = replicated.another(0, IMPATIENT);
    let hanging = replicated.replicas[0].hang();
    impatient.acquire("c", "me", 60_000).key("k").await.expect_problem(504, "not_durable");
    impatient.acquire("d", "me", 60_000).await.expect_problem(504, "not_durable");
    impatient.post("/locks/renew", renewal).await.expect_problem(504, "not_durable");
    impatient.increment("c", 1).await.assert(200);
    drop(hanging);
    // The lease of the key stays for the repeat, and nobody is left with the other one.
    let repeated = service.acquire("c", "me", 60_000).key("k").await;
    assert_eq!(replicas_of(&repeated), Some(1));
    repeated.assert(201);
    let is_free = async || service.acquire("d", "you", 60_000).await.status.as_u16() == 201;
    wait_until("the lock that nobody was told to hold", is_free).await;
}

/// The URL of a user who has every right but WAIT.
fn without_wait(server: &Server) -> String {
    server.command("ACL SETUSER lockstep reset on >secret ~* &* +@all -wait");
    server.url.replace("redis://", "redis://lockstep:secret@")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_wait_is_refused_at_the_start() {
    let replicated = Replicated::start(1, 0);
    let url = without_wait(&replicated.primary);
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--listen", "127.0.0.1:0", "--redis-url", &url, "--wait-replicas", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        !ended.status.success() && said.contains("--wait-replicas needs the command WAIT"),
        "{said}"
    );

    // Grants of locks do without it, and that is said once.
    let log = std::env::temp_dir().join(unique("lockstep-log-"));
    let writer = Stdio::from(File::create(&log).unwrap());
    let process = Process::start_logging_to(writer, &["--redis-url", &url]);
    let body = json!({ "lock": "l", "owner": "me" });
    let lease = process.post_once("main", "/locks", &body).await.unwrap();
    assert_eq!(replicas_of(&lease), None);
    lease.assert(201);
    let logged = std::fs::read_to_string(&log).unwrap();
    let warnings = logged.lines().filter(|line| line.contains("a failover can forget the grant"));
    assert_eq!(warnings.count(), 1, "{logged}");
    std::fs::remove_file(&log).unwrap();
}

/// `min-replicas-to-write` refuses before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_replicas_refuses_writes_and_not_reads() {
    let replicated = Replicated::start(0, 0);
    let service = &replicated.service;
    service.open("alice", "1").await;
    replicated.primary.command("CONFIG SET min-replicas-to-write 1");
    let problem = service.deposit("alice", "1").await.expect_problem(503, "store_unavailable");
    assert_eq!(problem["outcome"], "not_applied");
    assert_eq!(service.balance("alice").await, "1.00");
}
