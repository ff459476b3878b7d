//! A holder whose process is stopped for longer than its lease lasts, as a garbage collector, a debugger or a
//! moved virtual machine stop it. It goes on as if nothing had happened, and changes nothing.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use super::{acquire, release};
use crate::support::{Process, Service};

/// Acquires the lock `l`, and pays again and again. It prints its lease and the answers of its transfers, each on one line
/// with its status. `$1` is the URL of the service, `$2` the space.
const WORKER: &str = r#"
post() { curl --silent --max-time 60 -H "Lockstep-Space: $space" -H 'Content-Type: application/json' "$@"; }
url=$1 space=$2
lease=$(post "$url/locks" -d '{"lock":"l","owner":"worker","ttl_ms":60000}')
echo "$lease 201"
token=$(echo "$lease" | sed 's/.*"fencing_token":\([0-9]*\).*/\1/')
while :; do
  post "$url/accounts/transfer" -H "Lockstep-Guard: lock=l;token=$token" -w ' %{http_code}\n' \
    -d '{"from_account":"alice","to_account":"bob","amount":"1"}'
done
"#;

/// The worker, with all the processes that it starts.
struct Worker {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(process: &Process, space: &str) -> Worker {
        let url = format!("http://{}", process.address);
        let mut child = Command::new("sh")
            .args(["-c", WORKER, "sh", &url, space])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Worker { child, output }
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process_group(group, signal).unwrap();
    }

    /// The next answer: its body and its status.
    fn answer(&mut self) -> (serde_json::Value, u16) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let (body, status) =
            line.trim().rsplit_once(' ').unwrap_or_else(|| panic!("is curl installed? {line:?}"));
        (serde_json::from_str(body).unwrap(), status.parse().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_stopped_for_too_long_changes_nothing() {
    let (process, service) = (Process::shared(), Service::new());
    service.open("alice", "100000").await;
    service.open("bob", "0").await;
    let mut worker = Worker::start(&process, &service.space);
    let (lease, _) = worker.answer();
    let (paid, status) = worker.answer();
    assert_eq!(status, 201, "{paid:#}");
    worker.signal(Signal::STOP);
    // The lease is nearly over, however long the worker has taken so far.
    let renewal = json!({ "lock": "l", "lease_id": lease["lease_id"], "ttl_ms": 500 });
    service.post("/locks/renew", renewal).await.assert(200);

    // The other one gets the lock when the lease is over, and not before.
    let other = acquire(&service, json!({ "owner": "other", "wait_ms": 20_000 })).await.assert(201);
    let guard = format!("lock=l;token={}", other["fencing_token"]);
    let transfer = service.transfer("alice", "bob", "1000").header("lockstep-guard", &guard);
    transfer.await.assert(201);
    // Heartbeats go on for some seconds after somebody has waited, and change the processes.
    let keys = || {
        let mut keys = service.snapshot();
        keys.retain(|(key, _)| *key != service.key("processes", "locks"));
        keys
    };
    let (balance, before) = (service.balance("bob").await, keys());

    worker.signal(Signal::CONT);
    let (refused, status) = loop {
        // What was on its way when it was stopped has happened before.
        let (answer, status) = worker.answer();
        if status != 201 {
            break (answer, status);
        }
    };
    assert_eq!((status, &refused["code"]), (412, &json!("stale_fencing_token")), "{refused:#}");
    assert_eq!(refused["last_fencing_token"], other["fencing_token"]);
    assert_eq!(refused["outcome"], "not_applied");
    assert_eq!(service.balance("bob").await, balance);
    assert!(keys() == before, "the books have changed");
    release(&service, "l", &other["lease_id"]).await.assert(200);
}
