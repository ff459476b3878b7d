//! The service behind nginx, Caddy and HAProxy, each with its configuration in `examples/gateways`: what
//! the service answers has to arrive. `make test-gateways` installs the three and runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use process::Service;
use serde_json::Value;

/// The address of the service in the examples.
const SHOWN_SERVICE: &str = "127.0.0.1:8080";
/// The address of the gateway in the examples.
const SHOWN_GATEWAY: &str = "127.0.0.1:8000";

/// A gateway in front of a service of its own.
struct Gateway {
    address: String,
    child: Child,
    _service: Service,
}

impl Gateway {
    fn nginx() -> Gateway {
        Gateway::start("nginx", "nginx.conf", |config| {
            let folder = config.parent().unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(folder).arg("-c").arg(config).args(["-e", "stderr", "-g"]).arg(
                format!(
                    "daemon off; master_process off; pid {}; error_log stderr;",
                    folder.join("pid").display()
                ),
            );
            command
        })
    }

    fn caddy() -> Gateway {
        Gateway::start("caddy", "Caddyfile", |config| {
            let mut command = Command::new("caddy");
            command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(config)
                .env("HOME", config.parent().unwrap());
            command
        })
    }

    fn haproxy() -> Gateway {
        Gateway::start("haproxy", "haproxy.cfg", |config| {
            let mut command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(config);
            command
        })
    }

    fn all() -> [Gateway; 3] {
        [Gateway::nginx(), Gateway::caddy(), Gateway::haproxy()]
    }

    /// Starts a gateway with its example, in which only the two addresses are others.
    fn start(name: &str, file: &str, command: impl FnOnce(&PathBuf) -> Command) -> Gateway {
        let service = Service::start(&format!("behind-{name}-{}", unique()));
        let address = format!("127.0.0.1:{}", free_port());
        let example = fs::read_to_string(format!("examples/gateways/{file}")).unwrap();
        assert!(example.contains(SHOWN_SERVICE) && example.contains(SHOWN_GATEWAY), "{file}");
        let service_address = service.url.strip_prefix("http://").unwrap();
        let mut config =
            example.replace(SHOWN_SERVICE, service_address).replace(SHOWN_GATEWAY, &address);
        if name == "nginx" {
            // Its files of bodies and its log are not for the places of the system.
            let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {kind};"));
            let http = format!("http {{\n access_log off;\n {}", paths.join("\n"));
            config = config.replace("http {", &http);
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
        let child = command(&place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(service.folder.join("gateway.log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}; make test-gateways installs it"));
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
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let host = &self.address;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        Answer::read(&mut BufReader::new(stream))
    }

    fn get(&self, path: &str) -> Answer {
        self.try_get(path).expect("no answer")
    }

    /// Sends a request, its whole body first, on a connection of its own.
    fn send(&self, head: &str, body: &[u8]) -> Option<Answer> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (host, length) = (&self.address, body.len());
        let head = format!(
            "{head}\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        // The gateway may have answered before the end of the body; what it said is read all the same.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        Answer::read(&mut BufReader::new(stream))
    }
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
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let status = head.get(9..12)?.parse().ok()?;
        let head = head.to_lowercase();
        let mut answer = Answer { status, head, body: Vec::new() };
        if let Some(length) = answer.header("content-length") {
            answer.body = vec![0; length.parse().ok()?];
            stream.read_exact(&mut answer.body).ok()?;
        } else if answer.header("transfer-encoding").is_some() {
            while let Some(part) = read_chunk(stream)? {
                answer.body.extend(part);
            }
        }
        Some(answer)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        Some(line[name.len() + 1..].trim())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
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
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
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
