//! Commits that fail in the middle. The service's Redis user loses a right between two calls, so that one
//! write of a commit fails: everything is as it was, or the outcome is unknown and the call is not sent
//! again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{body::Body, http::Request};
use redis::{Commands, Connection};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::{Entry, Seed, Seeded, catalogue},
    redis_commands::command_calls,
    runner::transfer_in,
    support::{Answer, Call, Process, Server, Service, operation, race, race_each, wait_for},
};

/// A Redis of the test's own, and a service whose Redis user can lose rights.
struct Restricted {
    server: Server,
    service: Service,
    admin: Connection,
}

impl Restricted {
    fn new() -> Restricted {
        let server = Server::start(&[]);
        let mut admin = server.connection();
        acl(&mut admin, &["reset", "on", ">secret", "~*", "&*", "+@all"]);
        let service = Service::with(|settings| {
            settings.url = url_of_user(&server);
            settings.batch_workers = 1;
        });
        Restricted { server, service, admin }
    }

    /// Takes the rights to these commands away.
    fn take(&mut self, commands: &[&str]) {
        let rules: Vec<String> = commands.iter().map(|command| format!("-{command}")).collect();
        acl(&mut self.admin, &rules);
    }

    fn give_all(&mut self) {
        acl(&mut self.admin, &["+@all"]);
    }

    /// Takes the rights to one key away but for reading it and these commands.
    fn take_key(&mut self, key: &str, others: &[String], left: &str) {
        // Whoever runs a script needs a right to each of its keys.
        let scripts = "(+eval +evalsha +@read +time ~*)".to_owned();
        let others: String = others.iter().map(|other| format!(" ~{other}")).collect();
        let rules = [
            "-@all".to_owned(),
            "resetkeys".to_owned(),
            scripts,
            format!("(+@all{others})"),
            format!("({left} ~{key})"),
        ];
        acl(&mut self.admin, &rules);
    }

    fn give_all_keys(&mut self) {
        acl(&mut self.admin, &["clearselectors", "+@all", "~*"]);
    }

    /// The call of a case, with no right to `commands` until it is answered.
    async fn call_without(&mut self, commands: &[&str], call: Call) -> Answer {
        self.take(commands);
        let answer = call.await;
        self.give_all();
        answer
    }

    /// The keys of a space and its data keys.
    fn contents(&mut self, seeded: &Seeded) -> Contents {
        contents(&mut self.admin, &seeded.service.space)
    }

    /// The service on the same keys with all rights.
    fn unrestricted(&self) -> Service {
        let mut service = Service::on_own_redis(&self.server);
        service.space.clone_from(&self.service.space);
        service
    }
}

fn url_of_user(server: &Server) -> String {
    server.url.replace("redis://", "redis://lockstep:secret@")
}

fn acl(admin: &mut Connection, rules: &[impl AsRef<str>]) {
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("lockstep");
    for rule in rules {
        command.arg(rule.as_ref());
    }
    command.exec(admin).unwrap();
}

/// By key: the content, byte for byte, and the end of its life in milliseconds, -1 for none.
type Contents = BTreeMap<String, (Vec<u8>, i64)>;

fn contents(connection: &mut Connection, space: &str) -> Contents {
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("lockstep*{{{space}}}:*")).query(connection).unwrap();
    let content = |key: String| {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query(connection).unwrap();
        // A hash that a field was taken from again has its fields in another order.
        let fields: redis::RedisResult<BTreeMap<Vec<u8>, Vec<u8>>> =
            redis::cmd("HGETALL").arg(&key).query(connection);
        let dump = match fields {
            Ok(fields) if !fields.is_empty() => {
                fields.into_iter().flat_map(|(a, b)| [a, b]).flatten().collect()
            }
            _ => dump,
        };
        let end: i64 = redis::cmd("PEXPIRETIME").arg(&key).query(connection).unwrap();
        (key, (dump, end))
    };
    keys.into_iter().map(content).collect()
}

/// Panics where a key has come, gone or changed. The end of a key may move by the duration of a test,
/// because a time to live is counted from the moment of a command.
#[track_caller]
fn assert_same(before: &Contents, after: &Contents, what: &str) {
    let keys = |contents: &Contents| contents.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(before), keys(after), "{what}");
    for (key, (content, end)) in before {
        let (now, end_now) = &after[key];
        assert_eq!(String::from_utf8_lossy(content), String::from_utf8_lossy(now), "{what}: {key}");
        assert_eq!((*end < 0, content == now), (*end_now < 0, true), "{what}: {key}");
        assert!((end - end_now).abs() < 5000, "{what}: {key} ends at {end_now} instead of {end}");
    }
}

/// A call of the catalogue, made some time after what it needs was seeded.
struct Case {
    name: String,
    entry: Entry,
    later_ms: i64,
}

impl Case {
    fn is_data(&self) -> bool {
        ["batch/run", "batch/set", "transactions/run"].contains(&self.entry.name)
    }

    /// True if `/atomic` and `/bulk` take it.
    fn is_composable(&self) -> bool {
        lockstep::domains::commands().any(|command| command.name == self.entry.name)
    }

    async fn seed(&self, service: &Service) -> Seeded {
        let seeded = Seeded::new(service, self.entry.needs).await;
        service.advance_ms(self.later_ms);
        seeded
    }

    /// What `/atomic` and `/bulk` take as `input`: the body, with the id of the path in it.
    fn input(&self, seeded: &Seeded) -> Value {
        let mut input: Value = match &self.entry.body {
            Value::Null => json!({}),
            body => serde_json::from_str(&seeded.fill(&body.to_string())).unwrap(),
        };
        if let Some((_, place)) = self.entry.path.split_once('{') {
            let name = place.trim_end_matches('}');
            input[name] = seeded.fill(&format!("{{{place}")).into();
        }
        input
    }
}

/// All commands of the catalogue, and calls that first take back what has ended.
fn cases() -> Vec<Case> {
    // A command that fails within a caller's own script is an error of that script, and its answer says how long it
    // took; `scripts/run.rs` has its tests.
    let commands = catalogue().into_iter().filter(Entry::is_command);
    let commands = commands.filter(|entry| entry.name != "scripts/run");
    let case = |entry: Entry| {
        let name = format!("{} {}", entry.name, entry.body);
        Case { name, entry, later_ms: 0 }
    };
    let mut cases: Vec<Case> = commands.map(case).collect();
    for (name, needs, path, body, later_ms) in [
        (
            "accounts/transfer",
            &[Seed::Accounts, Seed::Hold][..],
            "/accounts/transfer",
            json!({ "from_account": "bob", "to_account": "alice", "amount": "150" }),
            3_600_001,
        ),
        (
            "accounts/hold",
            &[Seed::Accounts, Seed::Hold],
            "/accounts/hold",
            json!({ "from_account": "bob", "to_account": "alice", "amount": "150", "ttl_ms": 1000 }),
            3_600_001,
        ),
        (
            "accounts/capture",
            &[Seed::Accounts, Seed::Hold],
            "/accounts/capture",
            json!({ "hold_id": "{hold_id}", "amount": "0.5" }),
            0,
        ),
        (
            "inventory/reserve",
            &[Seed::Product, Seed::Reservation],
            "/inventory/reserve",
            json!({ "customer_id": "carol", "product_id": "espresso-cup", "quantity": 50 }),
            600_001,
        ),
        (
            "counters/increment",
            &[],
            "/counters/increment",
            json!({ "counter": "seats-left", "by": 5, "ttl_ms": 60_000 }),
            0,
        ),
        (
            "batch/set",
            &[Seed::Data],
            "/batch/set",
            json!({ "values": { "balance": "1", "y": "2" }, "ttl_ms": 60_000 }),
            0,
        ),
    ] {
        let name_and_body = format!("{name} {body} after {later_ms} ms");
        let entry = Entry { name, method: "POST", path, body, needs, reads: &[] };
        cases.push(Case { name: name_and_body, entry, later_ms });
    }
    cases
}

/// A body without what differs from call to call: generated ids, moments, and what is counted from them.
fn comparable(body: &Value) -> Value {
    match body {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| {
                !["_at", "_until", "_in_ms", "after_ms"].iter().any(|end| name.ends_with(end))
            })
            .filter(|(name, _)| !name.ends_with("fencing_token") && *name != "key_id")
            .map(|(name, value)| (name.clone(), comparable(value)))
            .collect(),
        Value::Array(values) => values.iter().map(comparable).collect(),
        Value::String(text) => ["tx_", "hold_", "res_", "lease_", "lsk_"]
            .iter()
            .find(|prefix| text.starts_with(**prefix))
            .map_or_else(|| body.clone(), |prefix| json!(prefix)),
        other => other.clone(),
    }
}

/// Whether a call that failed was applied.
#[derive(Debug, PartialEq)]
enum Outcome {
    Applied,
    NotApplied,
    Unknown,
}

#[track_caller]
fn outcome(answer: &Answer, what: &str) -> Outcome {
    if answer.status.is_success() {
        return Outcome::Applied;
    }
    let status = answer.status.as_u16();
    assert!([500, 503, 504].contains(&status), "{what}: {:#}", answer.body);
    match answer.body["outcome"].as_str() {
        Some("not_applied") => Outcome::NotApplied,
        Some("unknown") => Outcome::Unknown,
        other => panic!("{what}: {other:?}"),
    }
}

/// How many scripts were run.
fn script_calls(calls: &BTreeMap<String, u64>) -> u64 {
    ["EVAL", "EVALSHA"].iter().filter_map(|name| calls.get(*name)).sum()
}

/// What a script or the service's connection runs beside the commands of an operation.
const OTHERS: [&str; 13] = [
    "ACL|SETUSER",
    "AUTH",
    "CLIENT|SETINFO",
    "CONFIG|RESETSTAT",
    "DUMP",
    "EVAL",
    "EVALSHA",
    "HELLO",
    "INFO",
    "KEYS",
    "PEXPIRETIME",
    "PING",
    "SCRIPT|LOAD",
];

/// A good call of a case: its answer, the commands that it runs, with an idempotency key and without one,
/// and how many scripts.
struct Good {
    answer: Answer,
    commands: BTreeSet<String>,
    unkeyed: BTreeSet<String>,
    scripts: u64,
}

/// A good call of each case, after all scripts are loaded.
async fn good_calls(restricted: &mut Restricted, cases: &[Case]) -> Vec<Good> {
    for case in cases {
        case.seed(&restricted.service).await.call(&case.entry).await;
    }
    let mut good = Vec::new();
    for case in cases {
        let mut commands = Vec::new();
        for key in [None, Some("k")] {
            let seeded = case.seed(&restricted.service).await;
            command_calls(&mut restricted.admin);
            let call = seeded.call(&case.entry);
            let answer = key.map_or(call.clone(), |key| call.key(key)).await;
            assert!(answer.status.is_success(), "{}: {:#}", case.name, answer.body);
            let calls = command_calls(&mut restricted.admin);
            let scripts = script_calls(&calls);
            let names = calls.into_keys().filter(|name| !OTHERS.contains(&name.as_str()));
            commands.push((answer, names.collect(), scripts));
        }
        let (answer, keyed, scripts) = commands.remove(1);
        let (_, unkeyed, _) = commands.remove(0);
        good.push(Good { answer, commands: keyed, unkeyed, scripts });
    }
    good
}

/// True if the call succeeds without this command: it tidies up, or has the process read at once what it has written.
fn succeeds_without(case: &Case, command: &str) -> bool {
    match command {
        "ZREMRANGEBYSCORE" => case.entry.body["algorithm"] == "sliding_window",
        "HDEL" => matches!(case.entry.name, "cache/fill" | "cache/set"),
        "ZRANGEBYLEX" => case.entry.name.starts_with("keys/"),
        _ => false,
    }
}

/// Panics unless `replay` repeats the answer `first`.
fn assert_replays(case: &Case, replay: &Answer, first: &Answer, what: &str) {
    assert!(replay.replayed(), "{what}");
    assert_eq!(replay.status, first.status, "{what}");
    match case.entry.name {
        // A lease that is answered again says how much is left of it.
        "locks/acquire" => {
            assert_eq!(comparable(&replay.body), comparable(&first.body), "{what}");
        }
        // The secret of a key is answered once.
        "keys/create" | "keys/rotate" => {
            let mut expected = first.body.clone();
            expected.as_object_mut().unwrap().remove("key").expect("a secret");
            assert_eq!(replay.body, expected, "{what}");
        }
        _ => assert_eq!(replay.bytes, first.bytes, "{what}"),
    }
}

/// Panics unless a call under a key that failed before, with nothing changed, now succeeds as a good call
/// does, and is a replay after that.
async fn assert_applied_once(
    restricted: &mut Restricted,
    case: &Case,
    seeded: &Seeded,
    good: &Good,
    what: &str,
) {
    let again = seeded.call(&case.entry).key("k").await;
    assert!(!again.replayed(), "{what}");
    assert_eq!(again.status, good.answer.status, "{what}: {:#}", again.body);
    assert_eq!(comparable(&again.body), comparable(&good.answer.body), "{what}");
    let after = restricted.contents(seeded);
    let replay = seeded.call(&case.entry).key("k").await;
    assert_replays(case, &replay, &again, what);
    assert_same(&after, &restricted.contents(seeded), what);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_of_each_commit_fails_and_nothing_has_changed() {
    let mut restricted = Restricted::new();
    let cases = cases();
    let good_calls = good_calls(&mut restricted, &cases).await;
    let mut failed = 0;
    for (case, good) in cases.iter().zip(good_calls) {
        for command in &good.commands {
            let what = format!("{} without {command}", case.name);
            let seeded = case.seed(&restricted.service).await;
            let before = restricted.contents(&seeded);
            for key in [None, Some("k")] {
                if key.is_none() && !good.unkeyed.contains(command) {
                    continue;
                }
                let call = seeded.call(&case.entry);
                let call = key.map_or(call.clone(), |key| call.key(key));
                command_calls(&mut restricted.admin);
                let answer = restricted.call_without(&[command], call).await;
                let sent = script_calls(&command_calls(&mut restricted.admin));
                match outcome(&answer, &what) {
                    Outcome::NotApplied => {
                        assert_same(&before, &restricted.contents(&seeded), &what);
                        failed += 1;
                    }
                    Outcome::Unknown => {
                        assert!(case.is_data(), "{what}: {:#}", answer.body);
                        assert!(sent <= good.scripts, "{what}: {sent} scripts");
                        failed += 1;
                        break;
                    }
                    Outcome::Applied if succeeds_without(case, command) => {
                        assert_eq!(
                            comparable(&answer.body),
                            comparable(&good.answer.body),
                            "{what}"
                        );
                        break;
                    }
                    Outcome::Applied => {
                        // Each command of a batch has its own result.
                        assert_eq!(case.entry.name, "batch/run", "{what}: {:#}", answer.body);
                        assert!(answer.body["failed"].as_u64() > Some(0), "{what}");
                        break;
                    }
                }
                if key.is_some() {
                    assert_applied_once(&mut restricted, case, &seeded, &good, &what).await;
                }
            }
        }
    }
    assert!(failed > 200, "{failed}");
}

/// Six calls of one operation share a script, and each fails alone after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_for_several_steps_changes_nothing() {
    let mut restricted = Restricted::new();
    let cases = cases();
    let good_calls = good_calls(&mut restricted, &cases).await;
    for (case, good) in cases.iter().zip(good_calls) {
        if case.is_data() {
            continue;
        }
        for command in &good.commands {
            let what = format!("six times {} without {command}", case.name);
            if succeeds_without(case, command) {
                continue;
            }
            let seeded = case.seed(&restricted.service).await;
            let before = restricted.contents(&seeded);
            restricted.take(&[command]);
            let answers = race(6, |call| seeded.call(&case.entry).key(format!("k{call}"))).await;
            restricted.give_all();
            for answer in answers {
                assert_eq!(outcome(&answer, &what), Outcome::NotApplied, "{what}");
            }
            assert_same(&before, &restricted.contents(&seeded), &what);
        }
    }
}

/// Within `/atomic`, with another operation before it and one after it.
#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_call_whose_commit_fails_changes_nothing_and_can_be_repeated() {
    let mut restricted = Restricted::new();
    let cases = cases();
    let good_calls = good_calls(&mut restricted, &cases).await;
    let beside = || operation("counters/increment", json!({ "counter": "beside" }));
    for (case, good) in cases.iter().zip(good_calls) {
        if !case.is_composable() {
            continue;
        }
        for command in good.commands.iter().filter(|command| !succeeds_without(case, command)) {
            let what = format!("atomic {} without {command}", case.name);
            let seeded = case.seed(&restricted.service).await;
            let call = || {
                let middle = operation(case.entry.name, case.input(&seeded));
                seeded.service.atomic(&[beside(), middle, beside()]).key("k")
            };
            let before = restricted.contents(&seeded);
            let answer = restricted.call_without(&[command], call()).await;
            assert_eq!(outcome(&answer, &what), Outcome::NotApplied, "{what}");
            assert_same(&before, &restricted.contents(&seeded), &what);
            let again = call().await;
            assert!(again.status.is_success() && !again.replayed(), "{what}: {:#}", again.body);
            let replay = call().await;
            assert!(replay.replayed() && replay.bytes == again.bytes, "{what}");
            assert_eq!(seeded.service.counter("beside").await, 2, "{what}");
        }
    }
}

/// The lines of a stream that ask Redis for nothing that is forbidden have their effect once.
#[tokio::test(flavor = "multi_thread")]
async fn lines_beside_one_whose_commit_fails_have_one_effect() {
    let mut restricted = Restricted::new();
    let cases = cases();
    let good_calls = good_calls(&mut restricted, &cases).await;
    let mut beside_others = 0;
    for (case, good) in cases.iter().zip(good_calls) {
        if !case.is_composable() {
            continue;
        }
        for command in good.commands.iter().filter(|command| !succeeds_without(case, command)) {
            let what = format!("bulk {} without {command}", case.name);
            let seeded = case.seed(&restricted.service).await;
            let count = |key: usize| {
                json!({ "operation": "counters/increment", "input": { "counter": "beside" },
                    "idempotency_key": format!("b{key}") })
            };
            let middle = json!({ "operation": case.entry.name, "input": case.input(&seeded),
                "idempotency_key": "k" });
            let mut lines: Vec<Value> = (0..6).map(count).collect();
            lines.insert(3, middle);
            let send = async |lines: &[Value]| -> Vec<Value> {
                let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                let request = Request::post("/bulk")
                    .header("content-type", "application/x-ndjson")
                    .header("lockstep-space", &seeded.service.space)
                    .body(Body::from(text));
                let answer = seeded.service.send(request.unwrap()).await;
                let lines = answer.bytes.split(|byte| *byte == b'\n').filter(|it| !it.is_empty());
                lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
            };
            restricted.take(&[command]);
            let results = send(&lines).await;
            restricted.give_all();
            let status = |line: &Value| line["status"].as_u64().unwrap();
            assert!(status(&results[3]) >= 500, "{what}: {:#}", results[3]);
            let counted = results.iter().filter(|line| status(line) == 200).count();
            assert!([0, 6].contains(&counted), "{what}");
            beside_others += counted / 6;
            let found = seeded.service.counter("beside").await;
            assert_eq!(found, i64::try_from(counted).unwrap(), "{what}");
            assert_eq!(results[3]["body"]["outcome"], "not_applied", "{what}: {:#}", results[3]);
            let again = send(&lines).await;
            assert_eq!(seeded.service.counter("beside").await, 6, "{what}");
            assert_eq!(status(&again[3]), u64::from(good.answer.status.as_u16()), "{what}");
            assert_eq!(comparable(&again[3]["body"]), comparable(&good.answer.body), "{what}");
            let replays = send(&lines).await;
            assert!(replays.iter().all(|line| line["replayed"] == true), "{what}");
        }
    }
    assert!(beside_others > 20, "{beside_others}");
}

/// Accounts without a balance need no right to write the external account, and share a script with
/// those that have one.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_need_no_forbidden_command_succeed_beside_those_that_do() {
    for command in ["HSET", "RPUSH", "PEXPIRE"] {
        let mut restricted = Restricted::new();
        let service = restricted.service.clone();
        service.open("first", "1").await;
        let open = |number: usize| {
            let balance = if number.is_multiple_of(2) { "0" } else { "1" };
            let body = json!({ "account_id": format!("a{number}"), "initial_balance": balance });
            let service = service.clone();
            async move { (number, service.post("/accounts", body).await) }
        };
        restricted.take(&[command]);
        let answers = race(60, open).await;
        restricted.give_all();
        for (number, answer) in answers {
            match number % 2 {
                0 => drop(answer.assert(201)),
                _ => drop(answer.expect_problem(503, "store_unavailable")),
            }
        }
        assert_eq!(service.sum("USD"), 0, "{command}");
        let list = service.get("/accounts?limit=500").await.assert(200);
        assert_eq!(list["accounts"].as_array().unwrap().len(), 31, "{command}");
        // Those that have failed can be opened, so nothing is left of them.
        for (number, answer) in race_each((1..60).step_by(2), open).await {
            assert_eq!(answer.status.as_u16(), 201, "{number}");
        }
        assert_eq!(service.sum("USD"), 0, "{command}");
    }
}

/// Two transfers of one script, whose transactions are of two seconds and so in two hashes. Each write of a log or a hash
/// fails in turn, after none or some of the others: their order is not known.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_at_any_of_its_logs_and_hashes_is_undone() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    for account in ["alice", "bob", "carol", "dave"] {
        service.open(account, "5").await;
    }
    let steps = [("alice", "bob", "1"), ("carol", "dave", "2")]
        .map(|(from, to, second)| transfer_in(&service, from, to, "1", second));
    let keys: Vec<String> = steps.iter().flat_map(|(keys, _)| keys.clone()).collect();
    let before = contents(&mut restricted.admin, &service.space);
    for key in keys.iter().filter(|key| key.contains(":postings:") || key.contains(":trans")) {
        let others: Vec<String> = keys.iter().filter(|other| *other != key).cloned().collect();
        // A hash gets its fields, and no end.
        restricted.take_key(key, &others, "+hset +hdel");
        let error = service.run_steps("accounts/transfer", &steps).unwrap_err();
        restricted.give_all_keys();
        assert_eq!(error.code(), Some("ABORTED"), "{key}: {error}");
        assert!(!error.detail().unwrap().contains("user_script"), "{error}");
        assert_same(&before, &contents(&mut restricted.admin, &service.space), key);
    }
    service.run_steps("accounts/transfer", &steps).unwrap();
    assert_eq!(service.balance("dave").await, "6.00");
}

/// One of two records with an end cannot be written. The other one, if the commit has begun with it, gets its old end back.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_undone_has_its_old_end() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    let both = |ttl_ms: u64| {
        ["a", "b"].map(|counter| {
            let input = json!({ "counter": counter, "ttl_ms": ttl_ms, "ttl_mode": "refresh" });
            operation("counters/increment", input)
        })
    };
    service.atomic(&both(3_600_000)).await.assert(200);
    let before = contents(&mut restricted.admin, &service.space);
    let [a, b] = ["a", "b"].map(|counter| service.key("counter", counter));
    for (key, other) in [(&a, &b), (&b, &a)] {
        restricted.take_key(key, std::slice::from_ref(other), "+get");
        let refused = service.atomic(&both(60_000)).await;
        restricted.give_all_keys();
        assert_eq!(outcome(&refused, key), Outcome::NotApplied, "{:#}", refused.body);
        assert_same(&before, &contents(&mut restricted.admin, &service.space), key);
    }
    service.atomic(&both(60_000)).await.assert(200);
}

/// Redis ends the set of the leases as a whole. An undo that creates the set anew has to set that end again.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_is_undone_leaves_every_lease() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    let rule = json!({ "algorithm": "concurrency", "limit": 5, "ttl_ms": 3_600_000 });
    service.put("/ratelimit/policies/p", rule).await.assert(201);
    let limit = json!({ "policy": "p", "key": "k" });
    for _ in 0..2 {
        service.post("/ratelimit", limit.clone()).await.assert(200);
    }
    let before = contents(&mut restricted.admin, &service.space);
    let reset = service.post("/ratelimit/reset", limit);
    let refused = restricted.call_without(&["SET"], reset.clone()).await;
    assert_eq!(outcome(&refused, "reset"), Outcome::NotApplied, "{:#}", refused.body);
    assert_same(&before, &contents(&mut restricted.admin, &service.space), "without SET");
    assert_eq!(reset.await.assert(200)["remaining"], 5);
}

/// Waiters of a process that has gone are removed by the call that enters past them. If it fails, they are back.
#[tokio::test(flavor = "multi_thread")]
async fn waiters_who_were_passed_over_are_back_if_the_commit_fails() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    let keys = ["processes:locks", "index:locks", "index:lock_ends", "lock:l", "lock_queue:l"];
    let keys = keys.map(|key| format!("lockstep:{{{}}}:{key}", service.space)).to_vec();
    let step = |owner: &str, ttl_ms: &str| {
        let waiter = format!("aa:{owner}:e:\"{owner}\"");
        let args = ["\"me\"", ttl_ms, "exclusive", "0", "{}", "1000", owner, &waiter];
        let args = args.into_iter().chain(["", "0", "false", "", "l"]).map(str::to_owned);
        (keys.clone(), args.collect::<Vec<_>>())
    };
    // The holder has gone as well.
    let steps = [step("1", "1"), step("2", "9"), step("3", "9"), step("4", "9")];
    service.run_steps("locks/acquire", &steps).unwrap();
    let () = restricted.admin.del(&keys[0]).unwrap();
    let body = json!({ "lock": "l", "owner": "you" });
    service.advance_ms(60_000);
    let before = contents(&mut restricted.admin, &service.space);
    assert_eq!(restricted.admin.zcard::<_, u64>(&keys[4]).unwrap(), 3);
    let call = service.post("/locks", body);
    let refused = restricted.call_without(&["SET"], call.clone()).await;
    assert_eq!(outcome(&refused, "acquire"), Outcome::NotApplied, "{:#}", refused.body);
    assert_same(&before, &contents(&mut restricted.admin, &service.space), "without SET");
    call.await.assert(201);
    assert_eq!(restricted.admin.zcard::<_, u64>(&keys[4]).unwrap(), 0);
}

/// The log says what Redis says.
#[tokio::test]
async fn a_batch_without_a_right_names_no_place_in_the_script() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    restricted.take(&["SET"]);
    let keys = vec![format!("lockstep-data:{{{}}}:k", service.space)];
    let args = ["", "v"].map(str::to_owned).to_vec();
    let error = service.run_steps("batch/set", &[(keys, args)]).unwrap_err();
    assert!(!error.detail().unwrap().contains("user_script"), "{error}");
}

fn torn_commits() -> u64 {
    let text = lockstep::telemetry::prometheus().render();
    let line = text.lines().find_map(|line| line.strip_prefix("lockstep_torn_commits_total "));
    line.map_or(0, |count| count.parse().unwrap())
}

#[track_caller]
fn expect_torn(answer: Answer, what: &str) {
    assert_eq!(answer.status.as_u16(), 500, "{what}: {:#}", answer.body);
    let problem = answer.expect_problem(500, "internal_error");
    assert_eq!(problem["outcome"], "unknown", "{what}");
    assert_eq!(problem["retryable"], false, "{what}");
}

/// Every operation that appends to a log, with a later write and the command that undoes the append
/// failing. A repeat under its key, with all rights, does not run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_cannot_be_undone_is_sent_once_and_its_outcome_is_unknown() {
    let mut restricted = Restricted::new();
    let cases: Vec<Case> = cases().into_iter().filter(|case| !case.is_data()).collect();
    let good_calls = good_calls(&mut restricted, &cases).await;
    let mut torn = 0;
    for (case, good) in cases.iter().zip(good_calls) {
        let writes = ["MSET", "SET", "ZADD", "ZREM", "HSET", "DEL", "ZREMRANGEBYRANK"];
        if !good.commands.contains("RPUSH") {
            continue;
        }
        for command in good.commands.iter().filter(|name| writes.contains(&name.as_str())) {
            for key in [None, Some("k")] {
                if key.is_none() && !good.unkeyed.contains(command) {
                    continue;
                }
                let what = format!("{} without {command} and RPOP, {key:?}", case.name);
                let seeded = case.seed(&restricted.service).await;
                let call = seeded.call(&case.entry);
                let call = key.map_or(call.clone(), |key| call.key(key));
                let before = torn_commits();
                command_calls(&mut restricted.admin);
                let answer = restricted.call_without(&[command, "RPOP"], call).await;
                let sent = script_calls(&command_calls(&mut restricted.admin));
                expect_torn(answer, &what);
                assert_eq!(sent, good.scripts, "{what}");
                assert!(torn_commits() > before, "{what}");
                torn += 1;
                if let Some(key) = key {
                    let after = restricted.contents(&seeded);
                    expect_torn(seeded.call(&case.entry).key(key).await, &what);
                    assert_same(&after, &restricted.contents(&seeded), &what);
                }
            }
        }
    }
    assert!(torn > 40, "{torn}");
}

/// One loud line of the log for each.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_commit_has_one_line_in_the_log_and_is_counted() {
    let server = Server::start(&[]);
    let mut admin = server.connection();
    acl(&mut admin, &["reset", "on", ">secret", "~*", "&*", "+@all"]);
    let path = format!("{}/log", server.folder);
    let log = Stdio::from(File::create(&path).unwrap());
    let process = Process::start_logging_to(log, &["--redis-url", &url_of_user(&server)]);
    let body = json!({ "account_id": "alice", "initial_balance": "5" });
    process.post("torn", "/accounts", &body, "open").await.unwrap().assert(201);
    acl(&mut admin, &["-mset", "-rpop"]);
    let body = json!({ "account_id": "alice", "amount": "1" });
    let answer = process.post("torn", "/accounts/deposit", &body, "k").await.unwrap();
    expect_torn(answer, "deposit");
    acl(&mut admin, &["+@all", "-incrby"]);
    // Whoever repeats it learns the same, and so does the log.
    let again = process.post("torn", "/accounts/deposit", &body, "k").await.unwrap();
    expect_torn(again, "deposit, again");
    // Over data keys, by a script and by EXEC.
    let operations = json!([
        { "type": "rpush", "key": "list", "values": ["a"] }, { "type": "incr", "key": "n" }
    ]);
    let body = json!({ "operations": operations });
    expect_torn(process.post("torn", "/transactions", &body, "a").await.unwrap(), "script");
    let body = json!({ "operations": operations, "watch": ["n"] });
    expect_torn(process.post("torn", "/transactions", &body, "b").await.unwrap(), "EXEC");
    // The log is written by a thread of its own.
    let text = wait_for("four lines in the log", || {
        let text = std::fs::read_to_string(&path).unwrap();
        (text.matches("A COMMIT IS TORN").count() >= 4).then_some(text)
    });
    assert_eq!(text.matches("A COMMIT IS TORN").count(), 4, "{text}");
    assert!(text.contains("accounts/deposit") && text.contains("transactions/run"), "{text}");
    let metrics = process.get_text("/metrics").await;
    assert!(metrics.contains("lockstep_torn_commits_total 4"), "{metrics}");
}

const ACCOUNTS: usize = 6;
const CALLERS: usize = 16;
const PAYMENTS: usize = 20;

/// One payment of one caller: a transfer, a deposit or a hold.
#[derive(Clone, Copy)]
struct Payment {
    caller: usize,
    number: usize,
}

impl Payment {
    fn from(self) -> usize {
        (self.caller + self.number) % ACCOUNTS
    }

    fn to(self) -> usize {
        (self.from() + 1 + self.number % (ACCOUNTS - 1)) % ACCOUNTS
    }

    fn call(self, service: &Service) -> Call {
        let (from, to) = (format!("a{}", self.from()), format!("a{}", self.to()));
        let amount = (1 + self.number).to_string();
        let call = match self.number % 3 {
            0 => service.transfer(&from, &to, &amount),
            1 => service.deposit(&to, &amount),
            _ => service.hold(&from, &to, &amount, 3_600_000),
        };
        call.key(format!("{}-{}", self.caller, self.number))
    }

    fn apply(self, balances: &mut [i64; ACCOUNTS], held: &mut [i64; ACCOUNTS]) {
        let amount = i64::try_from(1 + self.number).unwrap();
        match self.number % 3 {
            0 => {
                balances[self.from()] -= amount;
                balances[self.to()] += amount;
            }
            1 => balances[self.to()] += amount,
            _ => held[self.from()] += amount,
        }
    }
}

/// What the callers have done so far.
#[derive(Default)]
struct Progress {
    answers: AtomicUsize,
    ended: AtomicUsize,
    changed: Notify,
}

impl Progress {
    fn count(&self, what: &AtomicUsize) {
        what.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
    }

    fn all_have_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst) == CALLERS
    }

    /// Waits for some more answers, or for the end.
    async fn some_answers(&self) {
        let target = self.answers.load(Ordering::SeqCst) + 5;
        while self.answers.load(Ordering::SeqCst) < target && !self.all_have_ended() {
            self.changed.notified().await;
        }
    }

    /// Makes all payments of a caller, each until it is acknowledged. Returns an answer that neither
    /// acknowledges nor denies, and stops there.
    async fn pay(&self, caller: usize, service: &Service) -> Option<Value> {
        for payment in (0..PAYMENTS).map(|number| Payment { caller, number }) {
            let mut attempts = 0;
            loop {
                attempts += 1;
                let answer = payment.call(service).await;
                self.count(&self.answers);
                if answer.status.is_success() {
                    break;
                }
                if answer.body["outcome"] != "not_applied" || attempts == 10_000 {
                    return Some(answer.body);
                }
            }
        }
        None
    }
}

/// Rights are taken and given back while transfers, deposits and holds are under way. Each is repeated
/// until it is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn no_effect_is_lost_or_doubled_while_rights_come_and_go() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    for account in 0..ACCOUNTS {
        service.open(&format!("a{account}"), "1000").await;
    }
    let progress = Arc::new(Progress::default());
    let callers = race(CALLERS, |caller| {
        let (service, progress) = (service.clone(), Arc::clone(&progress));
        async move {
            let unexpected = progress.pay(caller, &service).await;
            progress.count(&progress.ended);
            unexpected
        }
    });
    // After every few answers one right goes, and comes back after a few more.
    let commands = ["mset", "rpush", "set", "zadd", "hset", "mget", "time", "evalsha"];
    let mut toggles = 0;
    while toggles < 300 && !progress.all_have_ended() {
        restricted.take(&[commands[toggles % commands.len()]]);
        progress.some_answers().await;
        restricted.give_all();
        progress.some_answers().await;
        toggles += 1;
    }
    for unexpected in callers.await {
        assert_eq!(unexpected, None);
    }
    assert!(toggles > 8, "{toggles}");

    let (mut balances, mut held) = ([1000; ACCOUNTS], [0; ACCOUNTS]);
    for number in 0..CALLERS * PAYMENTS {
        let payment = Payment { caller: number / PAYMENTS, number: number % PAYMENTS };
        payment.apply(&mut balances, &mut held);
    }
    let service = restricted.unrestricted();
    assert_eq!(service.sum("USD"), 0);
    for account in 0..ACCOUNTS {
        let [balance, _, is_held] = service.funds(&format!("a{account}")).await;
        let expected = [balances[account], held[account]].map(|amount| format!("{amount}.00"));
        assert_eq!([balance, is_held], expected, "a{account}");
    }
    let integrity = service.get("/accounts/integrity").await.assert(200);
    assert_eq!(integrity["currencies"][0]["ok"], true, "{integrity:#}");
}

/// A transaction over data keys, as one script and by WATCH and EXEC, whose second command fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_over_data_keys_that_is_done_in_part_does_not_run_again() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    for watch in [json!([]), json!(["n"])] {
        let service = service.in_new_space();
        let seeded = Seeded::new(&service, &[Seed::Data]).await;
        let body = json!({ "watch": watch, "operations": [
            { "type": "incr", "key": "n" },
            { "type": "rpush", "key": "list", "values": ["a"] }
        ] });
        let call = || seeded.service.post("/transactions", body.clone()).key("k");
        seeded.service.in_new_space().post("/transactions", body.clone()).await.assert(200);
        command_calls(&mut restricted.admin);
        let torn = restricted.call_without(&["RPUSH"], call()).await;
        assert_eq!(script_calls(&command_calls(&mut restricted.admin)), 1);
        expect_torn(torn, "without RPUSH");
        // A write that the service cannot undo is there once, also after a repeat under the key.
        let counted = |admin: &mut Connection| {
            let key = format!("lockstep-data:{{{}}}:n", seeded.service.space);
            redis::cmd("GET").arg(key).query::<String>(admin).unwrap()
        };
        assert_eq!(counted(&mut restricted.admin), "1");
        expect_torn(call().await, "again");
        assert_eq!(counted(&mut restricted.admin), "1");

        // Without a key there is no record, and the key of the command that failed is left alone.
        let seeded = Seeded::new(&service, &[Seed::Data]).await;
        let call = seeded.service.post("/transactions", body.clone());
        expect_torn(restricted.call_without(&["RPUSH"], call).await, "without RPUSH and a key");
        let read = seeded.service.post("/batch/get", json!({ "keys": ["n", "list"] })).await;
        assert_eq!(read.assert(200)["values"], json!({ "n": "1", "list": null }));

        // The record of the idempotency key is the last write.
        let seeded = Seeded::new(&service, &[Seed::Data]).await;
        let call = || seeded.service.post("/transactions", body.clone()).key("k");
        expect_torn(restricted.call_without(&["SET"], call()).await, "without SET");
        expect_torn(call().await, "again, which was without SET");
        // The first command fails, so that nothing has happened.
        let seeded = Seeded::new(&service, &[Seed::Data]).await;
        let before = restricted.contents(&seeded);
        let call = || seeded.service.post("/transactions", body.clone()).key("k");
        let refused = restricted.call_without(&["INCRBY"], call()).await;
        assert_eq!(refused.expect_problem(503, "store_unavailable")["outcome"], "not_applied");
        assert_same(&before, &restricted.contents(&seeded), "without INCRBY");
        assert!(!call().await.replayed());
    }
}

/// Without each of the commands of a transaction by WATCH, those of the connection included.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_by_watch_without_a_command_of_its_connection_does_not_run() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    let body = json!({
        "watch": ["balance"],
        "guards": [{ "key": "balance", "op": "eq", "value": "42" }],
        "operations": [{ "type": "incr", "key": "balance" }]
    });
    let seeded = Seeded::new(&service, &[Seed::Data]).await;
    seeded.service.post("/transactions", body.clone()).await.assert(200);
    for command in
        ["WATCH", "TYPE", "GETRANGE", "MULTI", "EXEC", "EVALSHA", "TIME", "MGET", "INCRBY"]
    {
        for key in [None, Some("k")] {
            let seeded = Seeded::new(&service, &[Seed::Data]).await;
            let before = restricted.contents(&seeded);
            let call = || {
                let call = seeded.service.post("/transactions", body.clone());
                key.map_or(call.clone(), |key| call.key(key))
            };
            let answer = restricted.call_without(&[command], call()).await;
            if command == "MGET" && key.is_none() {
                // There is no record to load.
                answer.assert(200);
                continue;
            }
            assert_eq!(outcome(&answer, command), Outcome::NotApplied, "{:#}", answer.body);
            assert_same(&before, &restricted.contents(&seeded), command);
            let again = call().await;
            assert!(!again.replayed(), "{command}");
            assert_eq!(again.assert(200)["results"][0]["result"], 43, "{command}");
        }
    }
}

/// A command of a batch that fails does not stop the others; a chunk that fails after its first write
/// is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_after_its_first_write_has_an_unknown_outcome() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    let body = json!({ "operations": [
        { "type": "rpush", "key": "list", "values": ["a"] },
        { "type": "incr", "key": "n" },
        { "type": "incr", "key": "m" }
    ] });
    service.in_new_space().post("/batch", body.clone()).await.assert(200);
    // INCRBY is done, and then its number cannot be read.
    for (command, key) in [("GET", None), ("GET", Some("k")), ("SET", Some("k"))] {
        let service = service.in_new_space();
        let call = service.post("/batch", body.clone());
        let call = key.map_or(call.clone(), |key| call.key(key));
        command_calls(&mut restricted.admin);
        let answer = restricted.call_without(&[command], call).await.assert(200);
        assert_eq!(script_calls(&command_calls(&mut restricted.admin)), 1, "{command}");
        for result in answer["results"].as_array().unwrap() {
            let error = &result["error"];
            assert_eq!(
                (&error["outcome"], &error["code"]),
                (&json!("unknown"), &json!("internal_error"))
            );
        }
        let length: u64 = redis::cmd("LLEN")
            .arg(format!("lockstep-data:{{{}}}:list", service.space))
            .query(&mut restricted.admin)
            .unwrap();
        assert_eq!(length, 1, "{command}");
    }
}

/// No right to run scripts: nothing has happened, and the call can be repeated.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_run_scripts_nothing_happens() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    service.open("alice", "5").await;
    service.open("bob", "0").await;
    let call = || service.transfer("alice", "bob", "1").key("k");
    let answer = restricted.call_without(&["EVALSHA", "EVAL"], call()).await;
    let problem = answer.expect_problem(503, "store_unavailable");
    assert_eq!((&problem["outcome"], &problem["retryable"]), (&json!("not_applied"), &json!(true)));
    assert!(!call().await.replayed());
    assert_eq!(service.balance("bob").await, "1.00");
}

/// Another client sets what `cjson` writes and how deep, for all scripts of the server.
fn change_cjson(admin: &mut Connection) {
    for change in [
        "cjson.encode_max_depth(2)",
        "cjson.encode_number_precision(3)",
        "cjson.decode_max_depth(1)",
        "cjson.encode_sparse_array(true, 1, 1)",
        "cjson.encode_invalid_numbers(true)",
    ] {
        redis::cmd("EVAL").arg(change).arg(0).exec(admin).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_the_first_answer_whatever_another_client_does_to_cjson() {
    let mut restricted = Restricted::new();
    let cases = cases();
    let good_calls = good_calls(&mut restricted, &cases).await;
    let mut first = Vec::new();
    for case in &cases {
        let seeded = case.seed(&restricted.service).await;
        let answer = seeded.call(&case.entry).key("k").await;
        first.push((seeded, answer));
    }
    change_cjson(&mut restricted.admin);
    for ((case, good), (seeded, first)) in cases.iter().zip(good_calls).zip(first) {
        if case.entry.name == "locks/acquire" {
            // A lease that is answered again says what is left of it; `locks/repeats.rs` tests that.
            continue;
        }
        let replay = seeded.call(&case.entry).key("k").await;
        assert_replays(case, &replay, &first, &case.name);
        // And a call that runs now answers as before.
        let seeded = case.seed(&restricted.service).await;
        let fresh = seeded.call(&case.entry).key("k").await;
        assert_eq!(comparable(&fresh.body), comparable(&good.answer.body), "{}", case.name);
        let replay = seeded.call(&case.entry).key("k").await;
        assert_replays(case, &replay, &fresh, &case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_the_same_whatever_another_client_does_to_cjson() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    let refused = async || {
        let service = service.in_new_space();
        service.open("alice", "12345678901234567.89").await;
        let values = json!({ "values": { "n": "123456789.123456789", "s": "a\"/\u{e9}\u{1}" } });
        service.post("/batch/set", values).await.assert(200);
        let guard = |key: &str, op: &str, value: Value| {
            let mut guard = json!({ "key": key, "op": op });
            if !value.is_null() {
                guard["value"] = value;
            }
            json!({ "guards": [guard], "operations": [{ "type": "incr", "key": "x" }] })
        };
        let mut answers = Vec::new();
        for (path, body) in [
            ("/accounts/withdraw", json!({ "account_id": "alice", "amount": "98765432109876543" })),
            ("/transactions", guard("n", "lt", json!("123456789.123456788"))),
            ("/transactions", guard("s", "eq", json!("b/\u{e9}"))),
            ("/transactions", guard("s", "absent", Value::Null)),
            ("/transactions", guard("none", "exists", Value::Null)),
        ] {
            let first =
                service.post(path, body.clone()).key(format!("{body}").replace(' ', "")).await;
            let key = format!("key-{}", answers.len());
            let second = service.post(path, body.clone()).key(&key).await;
            let replay = service.post(path, body).key(&key).await;
            assert!(first.status.is_client_error() && replay.replayed(), "{:#}", replay.body);
            let strip = |answer: &Answer| {
                let mut body = answer.body.clone();
                body.as_object_mut().unwrap().remove("request_id");
                body
            };
            assert_eq!(strip(&replay), strip(&second));
            answers.push(strip(&second));
        }
        answers
    };
    let before = refused().await;
    change_cjson(&mut restricted.admin);
    assert_eq!(refused().await, before);
}

/// A proxy that loses the first reply to a script, on whichever connection it would come, and ends that connection.
struct LosingProxy {
    target: String,
    /// Called when the reply is lost.
    on_loss: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// True if no other connection outlives the loss.
    vanishes: bool,
    /// Cancelled when nothing is to be passed on any more.
    gone: CancellationToken,
    /// Cancelled when it has stopped to listen.
    closed: CancellationToken,
}

impl LosingProxy {
    /// Starts a proxy that passes on everything but one reply. Returns its port.
    async fn start(server: &Server, on_loss: impl FnOnce() + Send + 'static) -> u16 {
        Self::listen(server, false, Box::new(on_loss)).await
    }

    /// Starts a proxy that is gone before the script runs whose reply it loses: as a server that ends between the
    /// effect and the answer. Returns its port.
    async fn vanishing(server: &Server) -> u16 {
        Self::listen(server, true, Box::new(|| ())).await
    }

    async fn listen(server: &Server, vanishes: bool, on_loss: Box<dyn FnOnce() + Send>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Arc::new(LosingProxy {
            target: server.url.trim_start_matches("redis://").to_owned(),
            on_loss: Mutex::new(Some(on_loss)),
            vanishes,
            gone: CancellationToken::new(),
            closed: CancellationToken::new(),
        });
        tokio::spawn(async move {
            let accepting = async {
                loop {
                    let (caller, _) = listener.accept().await.unwrap();
                    tokio::spawn(Arc::clone(&proxy).pass(caller));
                }
            };
            let _: Option<()> = proxy.gone.run_until_cancelled(accepting).await;
            drop(listener);
            proxy.closed.cancel();
        });
        port
    }

    async fn pass(self: Arc<LosingProxy>, mut caller: TcpStream) {
        let mut server = TcpStream::connect(&self.target).await.unwrap();
        let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
        loop {
            tokio::select! {
                () = self.gone.cancelled() => return,
                sent = caller.read(&mut up) => {
                    let Ok(sent @ 1..) = sent else { return };
                    let is_script = String::from_utf8_lossy(&up[..sent]).contains("EVALSHA");
                    let on_loss = is_script.then(|| self.on_loss.lock().unwrap().take()).flatten();
                    if on_loss.is_some() && self.vanishes {
                        self.gone.cancel();
                        self.closed.cancelled().await;
                    }
                    server.write_all(&up[..sent]).await.unwrap();
                    if let Some(on_loss) = on_loss {
                        // The script has run when its reply is here.
                        assert!(server.read(&mut down).await.unwrap() > 0);
                        return on_loss();
                    }
                }
                answered = server.read(&mut down) => {
                    let Ok(answered @ 1..) = answered else { return };
                    if caller.write_all(&down[..answered]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// The reply that tells of a torn commit is lost, and the service sends the call again, which has a key. The rights
/// are there again by then, and all the same it does not run a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_commit_whose_reply_is_lost_does_not_run_again() {
    let deposit = json!({ "account_id": "alice", "amount": "1" });
    let push = json!({ "type": "rpush", "key": "list", "values": ["a"] });
    let in_part = json!({ "operations": [{ "type": "incr", "key": "n" }, push] });
    let watched = json!({ "watch": ["n"], "operations": in_part["operations"] });
    for (missing, path, body) in [
        (&["mset", "rpop"][..], "/accounts/deposit", deposit),
        (&["set", "rpop"], "/accounts/deposit", json!({ "account_id": "alice", "amount": "2" })),
        (&["rpush"], "/transactions", in_part),
        (&["rpush"], "/transactions", watched),
    ] {
        let mut restricted = Restricted::new();
        let all = restricted.unrestricted();
        all.open("alice", "5").await;
        // The server knows the script.
        all.post(path, body.clone()).await;
        let mut admin = restricted.server.connection();
        let give_back = move || acl(&mut admin, &["+@all"]);
        let port = LosingProxy::start(&restricted.server, give_back).await;
        let mut service = Service::with(|settings| {
            settings.url = format!("redis://lockstep:secret@127.0.0.1:{port}");
            (settings.batch_workers, settings.timeout) = (1, std::time::Duration::from_secs(5));
        });
        service.space.clone_from(&all.space);
        restricted.take(missing);
        let before = contents(&mut restricted.admin, &all.space);
        let answer = service.post(path, body.clone()).key("k").await;
        let torn = contents(&mut restricted.admin, &all.space);
        // A transaction by WATCH is not sent again by the service.
        let expected = if body["watch"].is_array() { 504 } else { 500 };
        assert_eq!(answer.status.as_u16(), expected, "{path}: {:#}", answer.body);
        assert_eq!(answer.body["outcome"], "unknown", "{path}");
        assert_ne!(before, torn, "{path}");
        for again in [&service, &all] {
            expect_torn(again.post(path, body.clone()).key("k").await, path);
            assert_same(&torn, &contents(&mut restricted.admin, &all.space), path);
        }
    }
}

/// The first time the reply is lost, and the repeats find no server: what they find says nothing of the
/// first time.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_after_a_lost_reply_leaves_the_outcome_unknown() {
    let server = Server::start(&[]);
    let direct = Service::on_own_redis(&server);
    direct.open("alice", "5").await;
    direct.open("bob", "0").await;
    direct.transfer("alice", "nobody", "1").await.expect_problem(404, "account_not_found");
    let port = LosingProxy::vanishing(&server).await;
    let mut service = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{port}");
        settings.batch_workers = 1;
    });
    service.space.clone_from(&direct.space);
    let problem = service.transfer("alice", "bob", "1").key("k").await;
    assert_eq!(direct.balance("bob").await, "1.00");
    let problem = problem.expect_problem(504, "outcome_unknown");
    assert_eq!((&problem["outcome"], &problem["retryable"]), (&json!("unknown"), &json!(true)));
    let again = direct.transfer("alice", "bob", "1").key("k").await;
    assert!(again.replayed());
    assert_eq!(direct.balance("bob").await, "1.00");
}

/// The server answers an error that says nothing of what happened. The call is sent once, and not even an
/// idempotency key makes a repeat safe.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_error_is_an_unknown_outcome_and_the_call_is_sent_once() {
    // EVALSHA is SETBIT, which says that the number of its arguments is wrong.
    let setbit = ["--rename-command", "EVALSHA", "''", "--rename-command", "SETBIT", "EVALSHA"];
    let server = Server::start(&setbit);
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.batch_workers = 1;
    });
    let mut admin = server.connection();
    let mut errors = || -> u64 {
        let text: String = redis::cmd("INFO").arg("errorstats").query(&mut admin).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("errorstat_ERR:count="));
        count.map_or(0, |count| count.parse().unwrap())
    };
    // The first call also connects, and that has errors of its own.
    let open = || service.post("/accounts", json!({ "account_id": "alice" }));
    open().await.expect_problem(500, "internal_error");
    for call in [open(), open().key("k")] {
        let before = errors();
        expect_torn(call.await, "EVALSHA");
        assert_eq!(errors(), before + 1);
    }
    // A read has no outcome that could be unknown.
    let refused = service.get("/accounts/alice").await.expect_problem(503, "store_unavailable");
    assert_eq!(refused["outcome"], "not_applied");
}

/// A member of a set that was there before the call that adds it stays when the call is undone.
#[tokio::test(flavor = "multi_thread")]
async fn undoing_keeps_a_member_that_was_there_before() {
    let mut restricted = Restricted::new();
    let service = restricted.service.clone();
    service.open("first", "1").await;
    let index = service.key("index", "accounts");
    redis::cmd("ZADD").arg(&index).arg(0).arg("new").exec(&mut restricted.admin).unwrap();
    let before = contents(&mut restricted.admin, &service.space);
    let body = json!({ "account_id": "new", "initial_balance": "1" });
    let call = service.post("/accounts", body);
    let answer = restricted.call_without(&["MSET"], call).await;
    assert_eq!(outcome(&answer, "open"), Outcome::NotApplied);
    assert_same(&before, &contents(&mut restricted.admin, &service.space), "open");
}
