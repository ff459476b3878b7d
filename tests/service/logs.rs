//! Tests of the log: nothing waits for its reader, an event is one line, and what has failed is found
//! by the id of its request.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write, pipe},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::{
    fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open},
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::{Value, json};

use crate::support::{Process, Server, free_port, raw, redis_url, unique, wait_for};

/// A pipe that is full, and the end that would read it.
fn full_pipe() -> (std::io::PipeReader, OwnedFd) {
    let (reader, writer) = pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let mut filled = &writer;
    while filled.write(b"x").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer.into())
}

fn wait_for_end(what: &str, child: &mut Child) -> ExitStatus {
    wait_for(what, || child.try_wait().unwrap())
}

/// Arguments for a Redis that is away, and a short wait for it.
fn without_redis() -> [String; 4] {
    let url = format!("redis://127.0.0.1:{}", free_port());
    ["--redis-url".to_owned(), url, "--store-timeout-ms".to_owned(), "200".to_owned()]
}

/// A line of JSON for each line of a log.
fn events(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_nothing_at_any_level() {
    for level in ["error", "warn", "info", "debug", "trace"] {
        let (_unread, log) = full_pipe();
        let arguments = without_redis();
        let arguments = arguments.each_ref().map(String::as_str);
        let mut process = Process::start_at_level(level, log.into(), &arguments);
        let space = unique("unread-");
        let body = json!({ "account_id": "alice", "amount": "1" });
        for number in 0..4 {
            let key = number.to_string();
            let answer = process.post(&space, "/accounts/deposit", &body, &key).await.unwrap();
            answer.expect_problem(503, "store_unavailable");
        }
        process.get(&space, "/livez").await.unwrap().assert(200);
        process.signal(Signal::TERM);
        let status = wait_for(level, || process.try_wait());
        assert!(status.success(), "{level}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_lines_are_counted_and_told_when_the_log_is_read_again() {
    let (unread, log) = full_pipe();
    let arguments = without_redis();
    let arguments =
        [&arguments.each_ref().map(String::as_str)[..], &["--log-format", "json"]].concat();
    let process = Process::start_at_level("lockstep=debug", log.into(), &arguments);
    let line = json!({ "operation": "accounts/close", "input": {} }).to_string() + "\n";
    let answered = process.bulk(&unique("dropped-"), line.repeat(6000)).await.unwrap().unwrap();
    assert_eq!(answered.split(|byte| *byte == b'\n').count(), 6001);
    let count = |text: &str| {
        let value =
            text.lines().find_map(|line| line.strip_prefix("lockstep_log_lines_dropped_total "));
        value.map(|value| value.parse::<u64>().unwrap())
    };
    let dropped = count(&process.get_text("/metrics").await).expect("some lines were dropped");

    // What filled the pipe stands before the first line.
    let mut lines = BufReader::new(unread).lines().map(Result::unwrap);
    let told = lines.find_map(|line| {
        let event: Value = serde_json::from_str(line.trim_start_matches('x')).ok()?;
        event["fields"]["dropped"].as_u64()
    });
    assert!(told.unwrap() >= dropped, "{told:?} {dropped}");
}

#[test]
fn a_message_that_nobody_reads_does_not_hold_up_the_end() {
    for (arguments, code) in [
        (["--currency", "nothing"], 2),
        (["--listen", "192.0.2.1:1"], 1),
        (["healthcheck", "--listen=127.0.0.1:1"], 1),
    ] {
        let (_unread, log) = full_pipe();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        let mut child = command.args(arguments).stderr(log).spawn().unwrap();
        assert_eq!(wait_for_end(arguments[0], &mut child).code(), Some(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_welcome_that_nobody_reads_does_not_hold_up_the_start() {
    let (_unread, output) = full_pipe();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(["--listen", &listen, "--redis-url", redis_url()]).stdout(output);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    wait_for("an answer", || {
        let mut stream = std::net::TcpStream::connect(&listen).ok()?;
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200").then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The failures of a call that are told in a log, each line with the number of them: 1 for the first of a
/// kind, `count` for the repeats.
fn told(events: &[Value], request_id: &str) -> u64 {
    let of_request = |event: &&Value| {
        let fields = &event["fields"];
        let named = fields["request_ids"].as_str().unwrap_or_default();
        fields["request_id"] == request_id || named.split(' ').any(|id| id == request_id)
    };
    events
        .iter()
        .filter(of_request)
        .map(|event| event["fields"]["count"].as_u64().unwrap_or(1))
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_a_full_redis_is_found_by_its_request_id_in_a_few_lines() {
    let server = Server::start(&[]);
    let path = std::env::temp_dir().join(unique("lockstep-log-"));
    let log = File::create(&path).unwrap();
    let arguments = ["--redis-url", &server.url, "--log-format", "json"];
    let process = Process::start_logging_to(log.into(), &arguments);
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).exec(&mut server.connection()).unwrap();

    let line =
        json!({ "operation": "accounts/deposit", "input": { "account_id": "a", "amount": "1" } });
    let answer = process.bulk("main", format!("{line}\n").repeat(2000)).await.unwrap().unwrap();
    let first = answer.split(|byte| *byte == b'\n').next().unwrap();
    let first: Value = serde_json::from_slice(first).unwrap();
    assert_eq!(first["body"]["code"], "store_out_of_memory");
    let request_id = first["body"]["request_id"].as_str().unwrap();

    let set = json!({ "type": "set", "key": "k", "value": "v" });
    let batch = json!({ "operations": vec![set; 250], "chunk_size": 100 });
    let answer = process.post("main", "/batch", &batch, "b").await.unwrap();
    let batch_id = answer.header("x-request-id").unwrap().to_owned();
    let failed = answer.assert(200);
    assert_eq!(
        (&failed["failed"], &failed["results"][249]["error"]["code"]),
        (&json!(250), &json!("store_out_of_memory"))
    );
    let single =
        process.post("main", "/accounts", &json!({ "account_id": "a" }), "s").await.unwrap();
    let single_id = single.header("x-request-id").unwrap().to_owned();

    wait_for("all failures to be told", || {
        let events = events(&std::fs::read_to_string(&path).unwrap());
        // A line of repeats counts those of all requests that it names.
        let all = [request_id, &batch_id, &single_id].map(|id| told(&events, id));
        (all[0] >= 2000 && all[1] >= 3 && all[2] >= 1).then_some(())
    });
    let lines = std::fs::read_to_string(&path).unwrap().lines().count();
    assert!(lines < 60, "{lines} lines");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_told_with_its_cause_and_its_part() {
    let path = std::env::temp_dir().join(unique("lockstep-log-"));
    let log = File::create(&path).unwrap();
    let process = Process::start_logging_to(
        log.into(),
        &["--redis-url", redis_url(), "--log-format", "json"],
    );
    let space = unique("fault-");
    let key = format!("lockstep:{{{space}}}:account:broken");
    redis::cmd("SET").arg(&key).arg("not an account").exec(&mut raw(&space)).unwrap();
    let line = json!({ "operation": "accounts/deposit", "input": { "account_id": "broken", "amount": "1" } });
    let answer = process.bulk(&space, format!("\n{line}\n{line}\n")).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let first: Value = serde_json::from_str(answer.lines().next().unwrap()).unwrap();
    assert_eq!(first["body"]["code"], "internal_error");
    let id = first["body"]["request_id"].as_str().unwrap();
    let events = wait_for("both failures", || {
        let events = events(&std::fs::read_to_string(&path).unwrap());
        (told(&events, id) == 2).then_some(events)
    });
    let fields = &events[0]["fields"];
    assert_eq!((&events[0]["level"], &fields["part"]), (&json!("ERROR"), &json!("line 0")));
    assert!(fields["cause"].as_str().unwrap().contains(&key), "{fields}");
    assert_eq!(events[1]["level"], "ERROR");
    std::fs::remove_file(&path).unwrap();
}

/// Many kinds of failures in one second take no more than a bounded number of lines.
#[tokio::test(flavor = "multi_thread")]
async fn many_causes_are_told_under_their_code() {
    let path = std::env::temp_dir().join(unique("lockstep-log-"));
    let log = File::create(&path).unwrap();
    let process = Process::start_logging_to(
        log.into(),
        &["--redis-url", redis_url(), "--log-format", "json"],
    );
    let space = unique("causes-");
    let mut seed = redis::pipe();
    let mut lines = String::new();
    for number in 0..400 {
        seed.set(format!("lockstep:{{{space}}}:account:a{number}"), "x");
        let input = json!({ "account_id": format!("a{number}"), "amount": "1" });
        lines += &(json!({ "operation": "accounts/deposit", "input": input }).to_string() + "\n");
    }
    seed.exec(&mut raw(&space)).unwrap();
    process.bulk(&space, lines).await.unwrap().unwrap();
    let events = wait_for("all failures", || {
        let events = events(&std::fs::read_to_string(&path).unwrap());
        let counts = events.iter().map(|event| event["fields"]["count"].as_u64().unwrap_or(1));
        (counts.sum::<u64>() == 400).then_some(events)
    });
    assert!(events.iter().any(|event| event["fields"]["cause"] == "several causes"));
    std::fs::remove_file(&path).unwrap();
}

/// What a service writes to a terminal while it starts.
fn on_a_terminal(no_colour: Option<&str>) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let stderr = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(["--listen", "127.0.0.1:0", "--redis-url", redis_url()]).env_remove("NO_COLOR");
    no_colour.map(|value| command.env("NO_COLOR", value));
    let mut child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    // The first lines may be about the nodes of a cluster.
    let lines = BufReader::new(File::from(terminal)).lines();
    let line = lines.map(Result::unwrap).find(|line| line.contains("listening")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_is_for_terminals() {
    assert!(on_a_terminal(None).contains('\u{1b}'));
    assert!(on_a_terminal(Some("")).contains('\u{1b}'));
    let line = on_a_terminal(Some("1"));
    assert!(line.contains("listening") && !line.contains('\u{1b}'), "{line}");

    let path = std::env::temp_dir().join(unique("lockstep-log-"));
    let log = File::create(&path).unwrap();
    let process = Process::start_at_level("info", log.into(), &["--redis-url", redis_url()]);
    wait_for("a line", || {
        let text = std::fs::read_to_string(&path).unwrap();
        text.contains("listening").then(|| assert!(!text.contains('\u{1b}'), "{text}"))
    });
    drop(process);
    std::fs::remove_file(&path).unwrap();
}
