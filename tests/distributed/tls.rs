//! Tests of TLS to the server, of client certificates, and of users of Redis whose password is in a file.

use std::{fs::File, process::Stdio, time::Duration};

use lockstep::store::Access;
use serde_json::{Value, json};

use crate::{
    certificates::Certificates,
    support::{Answer, Process, Server, Service, documented_rules, free_port, unique, wait_for},
};

/// A server that speaks TLS only with clients whose certificate it knows, and has a user with an awkward password.
struct Guarded {
    certificates: Certificates,
    server: Server,
    port: u16,
}

const PASSWORD: &str = " a@b:c/d?e#f%41 \u{e9},\"'";

impl Guarded {
    fn start(clients: &str) -> Guarded {
        let (certificates, port) = (Certificates::new(), free_port());
        let arguments = certificates.of_server(port, clients);
        let server = Server::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let guarded = Guarded { certificates, server, port };
        guarded.set_password(PASSWORD);
        guarded
    }

    /// Makes the user with the rights of `docs/operations.md`, or gives it another password.
    fn set_password(&self, password: &str) {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg("lockstep").arg("reset").arg("on").arg(format!(">{password}"));
        command.arg(documented_rules());
        command.arg("+select");
        command.exec(&mut self.server.connection()).unwrap();
    }

    fn url(&self) -> String {
        format!("rediss://lockstep@localhost:{}/3", self.port)
    }

    /// What lets the service in.
    fn access(&self) -> Access {
        let path = |file: &str| Some(self.certificates.path(file).into());
        self.certificates.write("password", &format!("{PASSWORD}\n"));
        Access {
            password_file: path("password"),
            ca_file: path("ca.pem"),
            client_cert: path("client.pem"),
            client_key: path("client.key"),
            ..Access::default()
        }
    }

    fn service(&self, change: impl FnOnce(&mut Access)) -> Service {
        Service::with(|settings| {
            settings.url = self.url();
            settings.access = self.access();
            settings.timeout = Duration::from_secs(5);
            change(&mut settings.access);
        })
    }
}

async fn assert_works(service: &Service) {
    service.open("alice", "10").await;
    assert_eq!(service.balance("alice").await, "10.00");
}

/// Batches, WATCH, the subscription of waiters, callers' scripts and the debugger each have connections of their own.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_connection_is_let_in() {
    let guarded = Guarded::start("yes");
    let service = guarded.service(|_| {});
    assert_works(&service).await;
    let watching = json!({ "watch": ["n"], "operations": [{ "type": "incr", "key": "n" }] });
    service.post("/transactions", watching).await.assert(200);

    let lease = service.acquire("l", "me", 3_600_000).await.assert(201);
    let waits = json!({ "lock": "l", "owner": "you", "wait_ms": 20_000, "ttl_ms": 1000 });
    let waiting = tokio::spawn(std::future::IntoFuture::into_future(service.post("/locks", waits)));
    // The waiter has come when the process has subscribed.
    let mut raw = guarded.server.connection();
    wait_for("the subscription", || {
        let channels: Vec<String> = redis::cmd("PUBSUB").arg("CHANNELS").query(&mut raw).unwrap();
        (!channels.is_empty()).then_some(())
    });
    let released = json!({ "lock": "l", "lease_id": lease["lease_id"] });
    service.post("/locks/release", released).await.assert(200);
    waiting.await.unwrap().assert(201);

    let source = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])";
    service
        .put("/scripts/s", json!({ "source": source, "keys": ["k"], "args": ["v"] }))
        .await
        .assert(201);
    let run = json!({ "keys": ["k"], "args": ["v"] });
    let answer = service.post("/scripts/s/run", run.clone()).await.assert(200);
    assert_eq!(answer["result"], "v");
    // The debugger of Redis does not work over TLS, with `redis-cli` neither.
    service.post("/scripts/s/trace", run).await.expect_problem(501, "trace_unavailable");

    // All of it was in database 3, and nothing in the others.
    let keyspace: String = redis::cmd("INFO").arg("keyspace").query(&mut raw).unwrap();
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_the_url_is_decoded() {
    let guarded = Guarded::start("no");
    let encoded: String = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let service = Service::with(|settings| {
        settings.url = format!("rediss://lockstep:{encoded}@localhost:{}/3", guarded.port);
        settings.access = Access {
            ca_file: Some(guarded.certificates.path("ca.pem").into()),
            ..Access::default()
        };
    });
    assert_works(&service).await;
}

/// The reason that `/readyz` gives, which is also that of calls.
async fn reason(service: &Service) -> String {
    service.get("/accounts/alice").await.expect_problem(503, "store_unavailable");
    let answer = service.get("/readyz").await;
    assert_eq!(answer.status.as_u16(), 503, "{:#}", answer.body);
    answer.body["reason"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_let_in_has_the_true_reason() {
    let guarded = Guarded::start("yes");
    let strangers = Certificates::new();
    let stranger = |file: &str| Some(strangers.path(file).into());

    let service = guarded.service(|access| access.ca_file = stranger("ca.pem"));
    let said = reason(&service).await;
    assert!(said.contains("invalid peer certificate"), "{said}");
    let service = guarded.service(|access| access.ca_file = None);
    let said = reason(&service).await;
    assert!(said.contains("UnknownIssuer"), "{said}");
    let service = guarded.service(|access| (access.client_cert, access.client_key) = (None, None));
    let said = reason(&service).await;
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    let service = guarded.service(|access| {
        (access.client_cert, access.client_key) = (stranger("client.pem"), stranger("client.key"));
    });
    let said = reason(&service).await;
    assert!(said.contains("alert"), "{said}");

    // The certificate is for localhost, and not for its address.
    let with_url = |url: String| {
        Service::with(|settings| {
            (settings.url, settings.access) = (url, guarded.access());
            settings.timeout = Duration::from_secs(2);
        })
    };
    let said = reason(&with_url(format!("rediss://lockstep@127.0.0.1:{}", guarded.port))).await;
    assert!(said.contains("not valid for"), "{said}");
    // TLS where none is spoken, and none where it is.
    let plain = guarded.server.url.replace("redis://", "rediss://lockstep@");
    let said = reason(&with_url(plain)).await;
    assert!(said.contains("expects no TLS"), "{said}");
    let service = Service::with(|settings| {
        settings.url = format!("redis://localhost:{}", guarded.port);
    });
    let said = reason(&service).await;
    assert!(said.contains("rediss://"), "{said}");
    let service = guarded.service(|access| {
        access.password_file = Some(guarded.certificates.write("wrong", "wrong").into());
    });
    let said = reason(&service).await;
    assert!(said.contains("WRONGPASS"), "{said}");
}

/// Files are read for each connection, so a password and certificates can change while the service runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_rotated_without_a_restart() {
    let guarded = Guarded::start("yes");
    let service = guarded.service(|_| {});
    assert_works(&service).await;
    guarded.set_password("another");
    // Connections that were let in stay.
    assert_eq!(service.balance("alice").await, "10.00");
    guarded.server.command("CLIENT KILL TYPE normal SKIPME yes");
    let said = reason(&service).await;
    assert!(said.contains("WRONGPASS"), "{said}");
    guarded.certificates.write("password", "another\r\n");
    assert_eq!(service.balance("alice").await, "10.00");

    // A file that is gone is said, and comes back.
    std::fs::remove_file(guarded.certificates.path("password")).unwrap();
    guarded.server.command("CLIENT KILL TYPE normal SKIPME yes");
    let said = reason(&service).await;
    assert!(said.contains("cannot read") && said.contains("--redis-password-file"), "{said}");
    guarded.certificates.write("password", "another");
    assert_eq!(service.balance("alice").await, "10.00");
}

/// Neither the log at its loudest, nor an answer, nor an error has the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_told_to_nobody() {
    let guarded = Guarded::start("no");
    guarded.set_password("TopSecret7");
    let ca = guarded.certificates.path("ca.pem");
    let log = guarded.certificates.path("log");
    for (url, works) in [
        (format!("rediss://lockstep:TopSecret7@localhost:{}", guarded.port), true),
        (format!("rediss://lockstep:%54opSecret7x@localhost:{}", guarded.port), false),
        (format!("rediss://lockstep:TopSecret7@127.0.0.1:{}", guarded.port), false),
    ] {
        let writer = Stdio::from(File::create(&log).unwrap());
        let arguments = ["--redis-url", &url, "--redis-ca-file", &ca];
        let process = Process::start_at_level("trace", writer, &arguments);
        let answer = process.get("main", "/readyz").await.unwrap();
        assert_eq!(answer.status.as_u16(), if works { 200 } else { 503 }, "{:#}", answer.body);
        let health = process.get_text("/health").await;
        let metrics = process.get_text("/metrics").await;
        let connections = process.get_text("/monitoring/connections").await;
        let logged = std::fs::read_to_string(&log).unwrap();
        assert!(!logged.is_empty());
        for text in [answer.body.to_string(), health, metrics, connections, logged] {
            assert!(!text.contains("opSecret7"), "{text}");
        }
    }
}
