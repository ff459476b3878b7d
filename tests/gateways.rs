//! The service behind nginx, Caddy and HAProxy, each with its configuration in `examples/gateways`: what
//! the service answers has to arrive. `make test-gateways` installs the three and runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use process::Service;
use serde_json::Value;

/// The address of the service in the examples.
const SHOWN_SERVICE: &str = "127.0.0.1:8080";
/// The address of the application in the examples.
const SHOWN_APPLICATION: &str = "127.0.0.1:9000";
/// The address of the gateway in the examples.
const SHOWN_GATEWAY: &str = "127.0.0.1:8000";

/// A gateway in front of a service of its own.
struct Gateway {
    address: String,
    child: Child,
    _service: Service,
}

impl Gateway {
    fn all() -> [Gateway; 3] {
        [("nginx", "nginx.conf"), ("caddy", "Caddyfile"), ("haproxy", "haproxy.cfg")]
            .map(|(name, file)| Gateway::start(name, file))
    }

    /// Starts a gateway with its example, in which only the two addresses are others.
    fn start(name: &str, file: &str) -> Gateway {
        let service = Service::start(&format!("behind-{name}-{}", unique()));
        let address = format!("127.0.0.1:{}", free_port());
        let example = fs::read_to_string(format!("examples/gateways/{file}")).unwrap();
        assert!(example.contains(SHOWN_SERVICE) && example.contains(SHOWN_GATEWAY), "{file}");
        let service_address = service.url.strip_prefix("http://").unwrap();
        let mut config =
            example.replace(SHOWN_SERVICE, service_address).replace(SHOWN_GATEWAY, &address);
        if name == "nginx" {
            config = without_places_of_the_system(&config);
        }
        if name == "caddy" {
            let lines: &[&str] = match caddy_has_full_duplex() {
                true => &["# servers {", "# \tenable_full_duplex", "# }"],
                false => &["# buffer_requests"],
            };
            for line in lines {
                assert!(config.contains(line), "{line}");
                config = config.replace(line, line.strip_prefix("# ").unwrap());
            }
        }
        let place = service.folder.join(file);
        fs::write(&place, config).unwrap();
        let child = spawn(name, &place);
        let gateway = Gateway { address, child, _service: service };
        for _ in 0..2000 {
            if gateway.try_get("/readyz").is_some_and(|answer| answer.status == 200) {
                return gateway;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let log = fs::read_to_string(gateway._service.folder.join("gateway.log")).unwrap();
        panic!("{name} does not serve: {log}");
    }

    /// The name of the program, for messages.
    fn name(&self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.child.id())).unwrap().trim().to_owned()
    }

    fn try_get(&self, path: &str) -> Option<Answer> {
        try_get(&self.address, path)
    }

    fn get(&self, path: &str) -> Answer {
        self.try_get(path).expect("no answer")
    }

    /// Sends a request, its whole body first, on a connection of its own.
    fn send(&self, head: &str, body: &[u8]) -> Option<Answer> {
        send(&self.address, head, body)
    }
}

/// nginx keeps its files of bodies and its log in places of the system, unless it is told others.
fn without_places_of_the_system(config: &str) -> String {
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind};"));
    let http = format!("http {{\n access_log off;\n {}", paths.join("\n"));
    config.replace("http {", &http)
}

/// Starts a gateway in the folder of its configuration.
fn spawn(name: &str, config: &Path) -> Child {
    let folder = config.parent().unwrap();
    let mut command = Command::new(name);
    match name {
        "nginx" => {
            let pid = folder.join("pid");
            let settings =
                format!("daemon off; master_process off; pid {}; error_log stderr;", pid.display());
            command.arg("-p").arg(folder).arg("-c").arg(config);
            command.args(["-e", "stderr", "-g", &settings])
        }
        "caddy" => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config),
        _ => command.args(["-db", "-f"]).arg(config),
    };
    command
        .current_dir(folder)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("gateway.log")).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}; make test-gateways installs it"))
}

fn try_get(address: &str, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    Answer::read(&mut BufReader::new(stream))
}

/// Sends a request, its whole body first, on a connection of its own.
fn send(address: &str, head: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    let head = format!(
        "{head}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    // The gateway may have answered before the end of the body; what it said is read all the same.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    Answer::read(&mut BufReader::new(stream))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    /// In lower case.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// The next answer; `None` where the connection was cut off before its end.
    fn read(stream: &mut impl BufRead) -> Option<Answer> {
        let Message { head, body } = Message::read(stream)?;
        let status = head.get(9..12)?.parse().ok()?;
        Some(Answer { status, head, body })
    }

    fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A request or an answer.
struct Message {
    /// In lower case.
    head: String,
    body: Vec<u8>,
}

impl Message {
    fn read(stream: &mut impl BufRead) -> Option<Message> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let head = head.to_lowercase();
        let mut body = Vec::new();
        if let Some(length) = header(&head, "content-length") {
            body = vec![0; length.parse().ok()?];
            stream.read_exact(&mut body).ok()?;
        } else if header(&head, "transfer-encoding").is_some() {
            while let Some(part) = read_chunk(stream)? {
                body.extend(part);
            }
        }
        Some(Message { head, body })
    }
}

/// A header of a head in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let line = head.lines().find(|line| line.starts_with(&format!("{name}:")))?;
    Some(line[name.len() + 1..].trim())
}

/// The next chunk of a body; `Some(None)` at its end.
fn read_chunk(stream: &mut impl BufRead) -> Option<Option<Vec<u8>>> {
    let mut size = String::new();
    stream.read_line(&mut size).ok()?;
    let size = usize::from_str_radix(size.trim(), 16).ok()?;
    let mut part = vec![0; size + 2];
    stream.read_exact(&mut part).ok()?;
    part.truncate(size);
    Some((size > 0).then_some(part))
}

/// True for Caddy 2.7 or newer. Before, it could not pass a body on while the answer had begun.
fn caddy_has_full_duplex() -> bool {
    let output = Command::new("caddy").arg("version").output().unwrap().stdout;
    let text = String::from_utf8(output).unwrap();
    let mut numbers = text.trim_start_matches('v').split('.').map(|number| number.parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (2, 7),
        _ => panic!("no version: {text}"),
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn unique() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Refused calls as the beginning of their head, with the status and the code of the refusal.
const REFUSED: [(&str, u16, &str); 6] = [
    ("PUT /accounts HTTP/1.1\r\nContent-Type: application/json", 405, "method_not_allowed"),
    ("POST /nowhere HTTP/1.1\r\nContent-Type: application/json", 404, "route_not_found"),
    ("POST /accounts HTTP/1.1\r\nContent-Type: text/plain", 415, "unsupported_media_type"),
    (
        "POST /accounts HTTP/1.1\r\nContent-Type: application/json\r\nIdempotency-Key: \"",
        400,
        "idempotency_key_invalid",
    ),
    (
        "POST /accounts HTTP/1.1\r\nContent-Type: application/json\r\nLockstep-Space: {}",
        422,
        "invalid_id",
    ),
    ("POST /accounts HTTP/1.1\r\nContent-Type: application/json", 400, "malformed_json"),
];

/// A refusal that is given before the body was read arrives, each time.
#[test]
fn refusals_arrive_through_every_gateway() {
    for gateway in Gateway::all() {
        let name = gateway.name();
        let mut wrong = Vec::new();
        for size in [100, 60_000, 250_000, 900_000] {
            let body = vec![b'x'; size];
            for (head, status, code) in REFUSED {
                // A body above the limit is refused as such, if nothing else was wrong before it.
                let too_large = code == "malformed_json" && size > 262_144;
                let expected = if too_large { (413, "payload_too_large") } else { (status, code) };
                thread::scope(|scope| {
                    let callers: Vec<_> = (0..4)
                        .map(|_| {
                            scope.spawn(|| {
                                (0..10).map(|_| gateway.send(head, &body)).collect::<Vec<_>>()
                            })
                        })
                        .collect();
                    for answer in callers.into_iter().flat_map(|caller| caller.join().unwrap()) {
                        let found = answer.as_ref().map(|answer| (answer.status, answer.json()));
                        let is_right = found.as_ref().is_some_and(|(status, body)| {
                            // A compressed problem is not looked into.
                            *status == expected.0 && (body["code"] == expected.1 || body.is_null())
                        });
                        if !is_right {
                            wrong.push(format!("{size} bytes, {code}: {found:?}"));
                        }
                    }
                });
            }
        }
        assert!(
            wrong.is_empty(),
            "{name}: {} of 960: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(10)]
        );
    }
}

/// The result of each line of a stream arrives before the next line is sent.
#[test]
fn a_stream_passes_line_by_line_through_every_gateway() {
    for gateway in Gateway::all() {
        let name = gateway.name();
        let stream = TcpStream::connect(&gateway.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut sending = stream.try_clone().unwrap();
        let mut reading = BufReader::new(stream);
        let at_once = name != "caddy" || caddy_has_full_duplex();
        let head = format!(
            "POST /bulk HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            gateway.address
        );
        sending.write_all(head.as_bytes()).unwrap();
        let lines = 5;
        let mut results = Vec::new();
        let mut read_result = |results: &mut Vec<Value>| {
            if results.is_empty() {
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    let read = reading.read_line(&mut head);
                    assert!(read.is_ok_and(|bytes| bytes > 0), "{name}: no head: {head}");
                }
                assert!(head.starts_with("HTTP/1.1 200"), "{name}: {head}");
            }
            let part = read_chunk(&mut reading).flatten();
            let part = part.unwrap_or_else(|| panic!("{name}: no result {}", results.len()));
            let found = part.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            results.extend(found.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
        };
        for number in 0..lines {
            let line = format!(
                "{{\"operation\":\"counters/increment\",\"input\":{{\"counter\":\"{name}\"}}}}\n"
            );
            sending.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).unwrap();
            if at_once {
                read_result(&mut results);
                assert_eq!(results.len(), number + 1, "{name}");
            }
        }
        sending.write_all(b"0\r\n\r\n").unwrap();
        while results.len() < lines {
            read_result(&mut results);
        }
        for (number, result) in results.iter().enumerate() {
            assert_eq!(result["body"]["value"], number + 1, "{name}: {result}");
        }
        assert_eq!(read_chunk(&mut reading), Some(None), "{name}");
    }
}

/// A tag that a gateway has changed, because it compressed the answer, still names the version.
#[test]
fn a_tag_survives_compression_by_every_gateway() {
    for gateway in Gateway::all() {
        let name = gateway.name();
        let metadata = format!("\"{}\"", "x".repeat(4000));
        let opened = gateway.send(
            "POST /accounts HTTP/1.1\r\nContent-Type: application/json",
            format!("{{\"account_id\":\"a\",\"metadata\":{{\"m\":{metadata}}}}}").as_bytes(),
        );
        assert_eq!(opened.unwrap().status, 201, "{name}");
        let compressed =
            gateway.send("GET /accounts/a HTTP/1.1\r\nAccept-Encoding: gzip", b"").unwrap();
        assert_eq!(compressed.header("content-encoding"), Some("gzip"), "{name}");
        let tag = compressed.header("etag").unwrap().replace("w/", "W/");
        let kept = gateway.send(
            &format!("GET /accounts/a HTTP/1.1\r\nAccept-Encoding: gzip\r\nIf-None-Match: {tag}"),
            b"",
        );
        assert_eq!(kept.unwrap().status, 304, "{name}: {tag}");
        let change = |tag: &str| {
            let head = "PATCH /accounts/a HTTP/1.1\r\nContent-Type: application/json";
            gateway.send(&format!("{head}\r\nIf-Match: {tag}"), b"{\"overdraft_limit\":\"1\"}")
        };
        assert_eq!(change(&tag).unwrap().status, 200, "{name}: {tag}");
        let stale = change(&tag).unwrap();
        assert_eq!((stale.status, stale.json()["code"].as_str()), (412, Some("version_mismatch")));
    }
}

/// The documentation finds its parts where a gateway takes a prefix away.
#[test]
fn the_documentation_works_behind_a_prefix() {
    for gateway in Gateway::all() {
        let name = gateway.name();
        for (path, place) in [("/lockstep/", "docs/"), ("/lockstep/docs", "docs/")] {
            let redirect = gateway.get(path);
            assert_eq!(
                (redirect.status, redirect.header("location")),
                (307, Some(place)),
                "{name}"
            );
        }
        let page = gateway.get("/lockstep/docs/");
        assert!(String::from_utf8(page.body).unwrap().contains("swagger-initializer.js"));
        let script = gateway.get("/lockstep/docs/swagger-initializer.js");
        assert!(String::from_utf8(script.body).unwrap().contains("\"../openapi.json\""));
        let document = gateway.get("/lockstep/openapi.json").json();
        assert_eq!(document["servers"][0]["url"], ".", "{name}");
        assert_eq!(gateway.get("/lockstep/livez").status, 200, "{name}");
        for path in ["/metrics", "/lockstep/metrics"] {
            assert_eq!(gateway.get(path).status, 403, "{name} {path}");
        }
    }
}

/// An instance that is stopped loses no call behind HAProxy, which notices at `/readyz` that it is leaving: callers see
/// nothing of it, and each call has one effect. The instances share a store.
#[test]
fn no_call_is_lost_while_an_instance_behind_haproxy_stops() {
    // What has the store is an instance too, which no caller reaches.
    let store = Service::start("drained-store");
    let socket = fs::canonicalize(store.folder.join("data")).unwrap().join("redis.sock");
    let url = format!("unix://{}", socket.display());
    let shared = ["--redis-url", &url];
    let delayed = [&shared[..], &["--shutdown-delay-ms", "8000"]].concat();
    let leaving = Service::start_with("drained-leaving", &delayed);
    let staying = Service::start_with("drained-staying", &shared);
    let address = format!("127.0.0.1:{}", free_port());
    let folder = store.folder.clone();
    let child = spawn("haproxy", &two_instances(&folder, &address, &leaving, &staying));
    let gateway = Gateway { address, child, _service: store };
    for _ in 0..2000 {
        if gateway.try_get("/readyz").is_some_and(|answer| answer.status == 200) {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let (calls, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let increment = || {
        let head = "POST /counters/increment HTTP/1.1\r\nContent-Type: application/json";
        let answer = gateway.send(head, b"{\"counter\":\"calls\"}");
        let status = answer.as_ref().map(|answer| answer.status);
        assert_eq!(status, Some(200), "{answer:?}");
        calls.fetch_add(1, Ordering::SeqCst);
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    increment();
                }
            });
        }
        let wait_for_calls = |more: u64| {
            let wanted = calls.load(Ordering::SeqCst) + more;
            // Bounded, because callers who have failed make no more calls.
            let mut looks = 0..12_000;
            while calls.load(Ordering::SeqCst) < wanted && looks.next().is_some() {
                thread::sleep(Duration::from_millis(5));
            }
        };
        let both_serve = || calls_of(&leaving) > 0 && calls_of(&staying) > 0;
        let mut looks = 0..100;
        while !both_serve() && looks.next().is_some() {
            wait_for_calls(20);
        }
        assert!(both_serve(), "the gateway shares the calls out");
        // SIGTERM, and the end of the process.
        drop(leaving);
        wait_for_calls(200);
        ended.store(true, Ordering::SeqCst);
    });
    let counter = try_get(gateway._service.url.strip_prefix("http://").unwrap(), "/counters/calls");
    assert_eq!(counter.unwrap().json()["value"], calls.load(Ordering::SeqCst));
    // Before the gateway and the store.
    drop(staying);
}

/// Writes the example for HAProxy with two instances in place of one.
fn two_instances(folder: &Path, address: &str, one: &Service, two: &Service) -> PathBuf {
    let example = fs::read_to_string("examples/gateways/haproxy.cfg").unwrap();
    let line = example.lines().find(|line| line.contains(SHOWN_SERVICE)).unwrap();
    let server = |name: &str, service: &Service| {
        let address = service.url.strip_prefix("http://").unwrap();
        line.replace(SHOWN_SERVICE, address).replace(" one ", name)
    };
    let servers = [server(" one ", one), server(" two ", two)].join("\n");
    assert_ne!(servers, [line, line].join("\n"));
    let place = folder.join("two.cfg");
    fs::write(&place, example.replace(line, &servers).replace(SHOWN_GATEWAY, address)).unwrap();
    place
}

/// The calls of the counter that an instance has answered.
fn calls_of(service: &Service) -> u64 {
    let metrics = try_get(service.url.strip_prefix("http://").unwrap(), "/metrics").unwrap();
    let text = String::from_utf8(metrics.body).unwrap();
    let begin = "lockstep_http_request_duration_seconds_count{";
    let mut lines = text.lines().filter(|line| line.starts_with(begin));
    let line = lines.find(|line| line.contains("/counters/increment") && line.contains("200"));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// The units of the policy `api` in front of the application.
const UNITS: u64 = 20;

/// A gateway that asks the service whether requests to an application may pass.
struct Limited {
    name: &'static str,
    address: String,
    child: Child,
    service: Option<Service>,
    folder: PathBuf,
    application: Application,
}

impl Limited {
    fn all() -> [Limited; 3] {
        [
            ("nginx", ["nginx-limit.conf"].as_slice()),
            ("caddy", &["Caddyfile-limit"]),
            ("haproxy", &["haproxy-limit.cfg", "haproxy-limit.lua"]),
        ]
        .map(|(name, files)| Limited::start(name, files))
    }

    /// Starts a gateway with its example, in which only the addresses are others.
    fn start(name: &'static str, files: &[&str]) -> Limited {
        let service = Service::start(&format!("limit-{name}-{}", unique()));
        let application = Application::start();
        let address = format!("127.0.0.1:{}", free_port());
        // The folder of the service goes with it, and the gateway outlives it.
        let folder = service.folder.with_extension("gateway");
        fs::create_dir_all(&folder).unwrap();
        for file in files {
            let example = fs::read_to_string(format!("examples/gateways/{file}")).unwrap();
            assert!(example.contains(SHOWN_SERVICE) || example.contains(SHOWN_APPLICATION));
            let config = example
                .replace(SHOWN_SERVICE, service.url.strip_prefix("http://").unwrap())
                .replace(SHOWN_APPLICATION, &application.address)
                .replace(SHOWN_GATEWAY, &address);
            let config =
                if name == "nginx" { without_places_of_the_system(&config) } else { config };
            fs::write(folder.join(file), config).unwrap();
        }
        let child = spawn(name, &folder.join(files[0]));
        let limited = Limited { name, address, child, service: Some(service), folder, application };
        for _ in 0..2000 {
            // There is no policy yet, so nothing passes.
            if try_get(&limited.address, "/").is_some() {
                return limited;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let log = fs::read_to_string(limited.folder.join("gateway.log")).unwrap();
        panic!("{name} does not serve: {log}");
    }

    /// Calls the service itself.
    fn ask_service(&self, head: &str, body: &str) -> Answer {
        let service = self.service.as_ref().unwrap().url.strip_prefix("http://").unwrap();
        let head = format!("{head} HTTP/1.1\r\nContent-Type: application/json");
        send(service, &head, body.as_bytes()).unwrap()
    }

    fn put_policy(&self) {
        let body = format!(
            "{{\"algorithm\":\"fixed_window\",\"limit\":{UNITS},\"window_ms\":2000000000}}"
        );
        let put = self.ask_service("PUT /ratelimit/policies/api", &body);
        assert!([200, 201].contains(&put.status), "{}: {put:?}", self.name);
    }

    /// Sends a request that the application answers with its body.
    fn send(&self, headers: &str, body: &[u8]) -> Answer {
        send(&self.address, &format!("POST /orders HTTP/1.1{headers}"), body)
            .unwrap_or_else(|| panic!("{} gave no answer", self.name))
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An application that answers every request with its body, and counts them.
struct Application {
    address: String,
    requests: Arc<AtomicU64>,
}

impl Application {
    /// It serves until the tests end.
    fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                thread::spawn(move || Application::serve(stream, &counted));
            }
        });
        Application { address, requests }
    }

    fn serve(stream: TcpStream, counted: &AtomicU64) -> Option<()> {
        let mut sending = stream.try_clone().ok()?;
        let mut reading = BufReader::new(stream);
        loop {
            let request = Message::read(&mut reading)?;
            counted.fetch_add(1, Ordering::SeqCst);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
            sending.write_all(&[head.as_bytes(), &request.body].concat()).ok()?;
        }
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Exactly as many requests as the policy has units reach the application, with their bodies; every other one is a 429
/// that says when to come again, whatever headers the caller sends.
#[test]
fn exactly_the_limit_reaches_an_application_behind_every_gateway() {
    for gateway in Limited::all() {
        let name = gateway.name;
        // A policy that is not there lets nothing pass, and is no denial.
        let refused = gateway.send("", b"early");
        assert!(refused.status == 404 || refused.status >= 500, "{name}: {refused:?}");
        gateway.put_policy();
        let body = vec![b'x'; 50_000];
        let answers: Vec<Answer> = thread::scope(|scope| {
            let caller = || (0..10).map(|_| gateway.send("", &body)).collect::<Vec<_>>();
            let callers: Vec<_> = (0..8).map(|_| scope.spawn(caller)).collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        });
        let (passed, denied): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(passed.len() as u64, UNITS, "{name}");
        assert!(passed.iter().all(|answer| answer.body == body), "{name}");
        for answer in denied {
            assert_eq!(answer.status, 429, "{name}: {answer:?}");
            let wait = answer.header("retry-after").unwrap();
            assert!(wait.parse::<u64>().unwrap() > 0, "{name}: {wait}");
            let state = format!("\"api\";r=0;t={wait}");
            assert_eq!(answer.header("ratelimit"), Some(state.as_str()), "{name}");
            assert_eq!(answer.json()["status"], 429, "{name}");
        }
        for headers in [
            "\r\nIdempotency-Key: mine",
            "\r\nLockstep-Space: other",
            "\r\nLockstep-Key: other",
            "\r\nLockstep-Policy: other",
            "\r\nLockstep-Cost: 0",
            "\r\nLockstep-Guard: lock=l;token=1",
        ] {
            assert_eq!(gateway.send(headers, b"").status, 429, "{name}: {headers}");
        }
        assert_eq!(gateway.application.requests(), UNITS, "{name}");
    }
}

/// Without the service nothing passes, and nobody is told of a limit.
#[test]
fn nothing_passes_without_the_service_behind_any_gateway() {
    for mut gateway in Limited::all() {
        let name = gateway.name;
        gateway.put_policy();
        assert_eq!(gateway.send("", b"").status, 200, "{name}");
        drop(gateway.service.take());
        for _ in 0..3 {
            let refused = gateway.send("", b"");
            assert!(refused.status >= 500, "{name}: {refused:?}");
        }
        assert_eq!(gateway.application.requests(), 1, "{name}");
    }
}
