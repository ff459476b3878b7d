//! The service as a program, for tests of its options, its sockets and its sudden end.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
};

use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Answer, redis_url};

/// A running `lockstep`, killed when this value is dropped.
pub struct Process {
    child: Child,
    pub address: String,
    client: Client<HttpConnector, Body>,
}

impl Process {
    /// Starts `lockstep` with these arguments on a free port.
    pub fn start(arguments: &[&str]) -> Process {
        Process::start_logging_to(Stdio::inherit(), arguments)
    }

    /// The same, with its log written to `log`.
    pub fn start_logging_to(log: Stdio, arguments: &[&str]) -> Process {
        Process::start_at_level("warn", log, arguments)
    }

    /// The same, with another `--log` than `warn`.
    pub fn start_at_level(level: &str, log: Stdio, arguments: &[&str]) -> Process {
        let program = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        Process::spawn(program, level, log, arguments)
    }

    /// Starts `lockstep` on the shared Redis with a clock that is wrong by an offset such as `-1h`.
    pub fn with_clock(offset: &str, arguments: &[&str]) -> Process {
        // The program `faketime` would stand between the test and the process that it has to end.
        let folders = std::fs::read_dir("/usr/lib").unwrap().map(|folder| folder.unwrap().path());
        let mut libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
        let library = libraries.find(|library| library.exists()).expect("is faketime installed?");
        let mut program = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        program.env("LD_PRELOAD", library).env("FAKETIME", offset);
        let arguments = [&["--redis-url", redis_url()], arguments].concat();
        Process::spawn(program, "warn", Stdio::inherit(), &arguments)
    }

    fn spawn(mut program: Command, level: &str, log: Stdio, arguments: &[&str]) -> Process {
        let mut child = program
            .args(["--listen", "127.0.0.1:0", "--log", level])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("://").nth(1).and_then(|rest| rest.split([' ', '/']).next());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Process { child, address, client }
    }

    /// Starts `lockstep` on the Redis that the tests share.
    pub fn shared() -> Process {
        Process::start(&["--redis-url", redis_url()])
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it with SIGKILL, which gives it no time to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, once it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// One command under an idempotency key; `None` where no answer came.
    pub async fn post(&self, space: &str, path: &str, body: &Value, key: &str) -> Option<Answer> {
        let request = Request::post(self.url(path))
            .header("content-type", "application/json")
            .header("lockstep-space", space)
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }

    /// One command without an idempotency key; `None` where no answer came.
    pub async fn post_once(&self, space: &str, path: &str, body: &Value) -> Option<Answer> {
        let request = Request::post(self.url(path))
            .header("content-type", "application/json")
            .header("lockstep-space", space)
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }

    /// One read; `None` where no answer came.
    pub async fn get(&self, space: &str, path: &str) -> Option<Answer> {
        let request = Request::get(self.url(path)).header("lockstep-space", space);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// One call with the key of a caller; `None` where no answer came. A null body is none.
    pub async fn call(&self, key: &str, method: &str, path: &str, body: &Value) -> Option<Answer> {
        let request = Request::builder().method(method).uri(self.url(path));
        let request = request.header("authorization", format!("Bearer {key}"));
        let request = match body {
            Value::Null => request.body(Body::empty()),
            body => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
        };
        self.send(request.unwrap()).await
    }

    /// The body of a path that answers no JSON.
    pub async fn get_text(&self, path: &str) -> String {
        let request = Request::get(self.url(path)).body(Body::empty()).unwrap();
        let answer = self.client.request(request).await.unwrap();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Sends lines to `POST /bulk`; the answer's lines, or `None` where it was cut off.
    pub fn bulk(&self, space: &str, lines: String) -> JoinHandle<Option<Vec<u8>>> {
        let request = Request::post(self.url("/bulk"))
            .header("content-type", "application/x-ndjson")
            .header("lockstep-space", space)
            .body(Body::from(lines))
            .unwrap();
        let client = self.client.clone();
        tokio::spawn(async move {
            let response = client.request(request).await.ok()?;
            let bytes = response.into_body().collect().await.ok()?.to_bytes();
            Some(bytes.to_vec())
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a request whose URI begins with its address.
    pub async fn send(&self, request: Request<Body>) -> Option<Answer> {
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        Some(Answer::new(head.status, head.headers, &bytes))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
