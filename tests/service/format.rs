//! Tests of the format of the data: services that refuse another one, and migrations that are stopped at any
//! moment.

use std::{
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use lockstep::store::{
    Access, AdminConnection, FORMAT, FormatError, Migrated, MigrationError, MigrationStep,
};
use redis::Commands;
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    embedded::{Folder, start_error},
    support::{Process, Server, Service},
};

/// A step that adds one to every thing. Run twice on the same thing, it would show.
const SECOND: &str = "--[[
Adds one to every thing, and writes 2 before it.

KEYS lockstep:{*}:thing:*
BATCH 10
]]
for i = 1, #keys do
  local number = (redis.call('GET', keys[i]) or ''):match('^1:(%d+)$')
  if number then
    redis.call('SET', keys[i], ('2:%d'):format(number + 1))
  end
end
";

const THINGS: u32 = 300;

/// The steps of this version, and an invented one after them.
fn steps(second: &str) -> Vec<MigrationStep> {
    let mut steps = MigrationStep::embedded();
    assert_eq!(steps.len() as u64, FORMAT);
    let name = format!("{:04}-second", FORMAT + 1);
    steps.push(MigrationStep::parse(&name, second).unwrap());
    steps
}

pub async fn connect(server: &Server) -> AdminConnection {
    AdminConnection::connect(&server.url, &Access::default(), Duration::from_secs(20))
        .await
        .unwrap()
}

/// A store with things of two spaces, which a service has used.
async fn store_with_things() -> Server {
    let server = Server::of_this_run();
    let mut admin = connect(&server).await;
    admin.register("test").await.unwrap();
    admin.deregister("test").await.unwrap();
    for thing in 0..THINGS {
        let () = server.connection().set(key(thing), format!("1:{thing}")).unwrap();
    }
    server
}

fn key(thing: u32) -> String {
    format!("lockstep:{{space-{}}}:thing:{thing}", thing % 2)
}

/// The number of things that have been migrated. Panics where one has been changed in any other way.
fn migrated_things(server: &Server) -> u32 {
    let mut connection = server.connection();
    let is_migrated = |thing: &u32| {
        let text: String = connection.get(key(*thing)).unwrap();
        let (old, new) = (format!("1:{thing}"), format!("2:{}", thing + 1));
        assert!(text == old || text == new, "{thing} is {text}");
        text == new
    };
    (0..THINGS).filter(is_migrated).count() as u32
}

fn format_of(server: &Server) -> Option<String> {
    server.connection().get("lockstep:format").unwrap()
}

pub fn set_format(server: &Server, text: &str) {
    let () = server.connection().set("lockstep:format", text).unwrap();
}

/// The text of a format; while it is being migrated to another one, of both.
fn text(format: u64, migrating_to: Option<u64>) -> String {
    match migrating_to {
        None => json!({ "format": format }).to_string(),
        Some(to) => json!({ "format": format, "migrating_to": to }).to_string(),
    }
}

/// Runs `lockstep migrate`: whether it succeeded, and what it printed.
fn migrate(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    let Output { status, stdout, stderr } =
        command.arg("migrate").args(arguments).output().unwrap();
    let printed = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert_eq!(printed.lines().count(), 1, "one sentence: {printed}");
    (status.success(), printed)
}

#[tokio::test]
async fn a_new_store_gets_the_present_format() {
    let server = Server::of_this_run();
    let process = Process::start(&["--redis-url", &server.url]);
    assert_eq!(format_of(&server), Some(text(FORMAT, None)));
    let recorded: Vec<String> = server.connection().hkeys("lockstep:migrations").unwrap();
    let steps = MigrationStep::embedded();
    assert_eq!(recorded.len(), steps.len());
    assert!(steps.iter().all(|step| recorded.contains(&step.name)));
    drop(process);
    Process::start(&["--redis-url", &server.url]);
    assert_eq!(format_of(&server), Some(text(FORMAT, None)));
}

#[tokio::test]
async fn data_without_a_format_are_refused() {
    let server = Server::of_this_run();
    let () = server.connection().set("lockstep-data:{main}:x", "a key of others").unwrap();
    let url = ["--redis-url", server.url.as_str()];
    drop(Process::start(&url));
    assert_eq!(format_of(&server), Some(text(FORMAT, None)));

    Service::on_own_redis(&server).open("alice", "1").await;
    let () = server.connection().del("lockstep:format").unwrap();
    let error = start_error(&url);
    assert!(error.contains("has data of Lockstep and no key lockstep:format"), "{error}");
    let (succeeded, printed) = migrate(&url);
    assert!(!succeeded && printed.contains("no key lockstep:format"), "{printed}");
    assert_eq!(format_of(&server), None);
}

#[test]
fn a_service_does_not_start_on_another_format() {
    let server = Server::of_this_run();
    let (older, newer) = (FORMAT - 1, FORMAT + 1);
    for (format, sentence) in [
        (text(older, None), format!("format {older} and this version needs format {FORMAT}: stop")),
        (text(newer, None), format!("format {newer} and this version knows only format {FORMAT}:")),
        (
            text(FORMAT, Some(newer)),
            format!("being migrated from format {FORMAT} to format {newer}: wait until lockstep"),
        ),
        ("nonsense".to_owned(), "lockstep:format holds \"nonsense\"".to_owned()),
    ] {
        set_format(&server, &format);
        let error = start_error(&["--redis-url", &server.url]);
        assert!(error.contains(&sentence), "{error}");
        assert_eq!(format_of(&server), Some(format));
    }
    let services: u32 = server.connection().zcard("lockstep:services").unwrap();
    assert_eq!(services, 0);
}

/// A server that does not answer at the start is checked as soon as it does.
#[test]
fn a_service_stops_where_a_late_server_has_another_format() {
    let server = Server::of_this_run();
    set_format(&server, &text(FORMAT + 1, None));
    let hanging = server.hang();
    let mut process = Process::start(&["--redis-url", &server.url, "--store-timeout-ms", "100"]);
    drop(hanging);
    assert_eq!(process.wait().code(), Some(1));
}

/// The server may become another one while the service runs, such as one from a backup.
#[tokio::test]
async fn a_new_connection_to_another_format_is_refused() {
    let server = Server::of_this_run();
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.batch_workers = 1;
    });
    service.open("alice", "1").await;
    set_format(&server, &text(FORMAT + 1, None));
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
    kill.exec(&mut server.connection()).unwrap();
    // The first call may still be sent on the old connection, and then its outcome is unknown.
    assert_ne!(service.deposit("alice", "1").await.status, 201);
    let refused = service.deposit("alice", "1").await.expect_problem(503, "store_unavailable");
    assert_eq!(refused["outcome"], "not_applied");
    assert_eq!(service.call("GET", "/readyz").await.status, 503);
    set_format(&server, &text(FORMAT, None));
    service.deposit("alice", "1").await.assert(201);
}

/// Runs a migration until it has been through some pieces.
pub async fn migrate_until(admin: &mut AdminConnection, steps: &[MigrationStep], pieces: u32) {
    let (stop, mut seen) = (Arc::new(Notify::new()), 0);
    let reached = Arc::clone(&stop);
    // Dropped at its next wait for the server, the migration sends nothing more, as if it were killed.
    tokio::select! {
        migrated = admin.migrate(steps, |_, _| {
            seen += 1;
            if seen == pieces {
                reached.notify_one();
            }
        }) => panic!("{migrated:?} before it was stopped"),
        () = stop.notified() => {}
    }
}

#[tokio::test]
async fn a_migration_that_is_stopped_at_any_piece_is_resumed() {
    let server = store_with_things().await;
    let steps = steps(SECOND);
    let (from, to) = (FORMAT, FORMAT + 1);
    let mut admin = connect(&server).await;
    for stop_after in [1, 2, 5, 13, 25] {
        migrate_until(&mut admin, &steps, stop_after).await;
        assert_eq!(format_of(&server), Some(text(from, Some(to))));
        let migrated = migrated_things(&server);
        assert!(migrated > 0 && migrated < THINGS, "{migrated} after {stop_after}");
        let error = start_error(&["--redis-url", &server.url]);
        assert!(error.contains("being migrated"), "{error}");
    }
    let migrated = admin.migrate(&steps, |_, _| {}).await;
    assert_eq!(migrated, Ok(Migrated::Changed { from, to }));
    assert_eq!((migrated_things(&server), format_of(&server)), (THINGS, Some(text(to, None))));
    assert_eq!(admin.migrate(&steps, |_, _| {}).await, Ok(Migrated::Unchanged(to)));
    assert_eq!(migrated_things(&server), THINGS);
    let error = start_error(&["--redis-url", &server.url]);
    assert!(error.contains(&format!("the data have format {to}")), "{error}");
}

#[tokio::test]
async fn two_migrations_at_once_have_the_effect_of_one() {
    let server = store_with_things().await;
    let steps = steps(SECOND);
    let (mut one, mut other) = (connect(&server).await, connect(&server).await);
    let (one, other) =
        tokio::join!(one.migrate(&steps, |_, _| {}), other.migrate(&steps, |_, _| {}));
    let changed = Ok(Migrated::Changed { from: FORMAT, to: FORMAT + 1 });
    assert!(one == changed || other == changed, "{one:?} {other:?}");
    for result in [one, other] {
        assert!(result == changed || result == Err(MigrationError::Stale), "{result:?}");
    }
    assert_eq!(migrated_things(&server), THINGS);
}

/// A piece that arrives late, when others have gone on, changes nothing.
#[tokio::test]
async fn a_piece_runs_only_at_its_own_format() {
    let server = store_with_things().await;
    let go_on = |_: &MigrationStep, _| set_format(&server, &text(FORMAT + 1, None));
    let stale = connect(&server).await.migrate(&steps(SECOND), go_on).await;
    assert_eq!(stale, Err(MigrationError::Stale));
    assert_eq!(migrated_things(&server), 10);
    assert_eq!(format_of(&server), Some(text(FORMAT + 1, None)));
}

#[tokio::test]
async fn a_step_that_fails_is_mended_and_one_that_has_run_is_not_changed() {
    let server = store_with_things().await;
    let mut admin = connect(&server).await;
    let fails = SECOND
        .replace("if number then", "if keys[i]:find('99') then error('no') end\nif number then");
    let error = admin.migrate(&steps(&fails), |_, _| {}).await.unwrap_err();
    assert!(matches!(&error, MigrationError::StepFailed { step, .. } if step.ends_with("second")));
    assert!(error.to_string().contains("the data stay locked for services"), "{error}");
    assert_eq!(format_of(&server), Some(text(FORMAT, Some(FORMAT + 1))));
    admin.migrate(&steps(SECOND), |_, _| {}).await.unwrap();
    assert_eq!(migrated_things(&server), THINGS);

    let changed = admin.migrate(&steps(&fails), |_, _| {}).await;
    let name = format!("{:04}-second", FORMAT + 1);
    assert_eq!(changed, Err(MigrationError::StepChanged(name.clone())));
    let mut renamed = steps(SECOND);
    renamed.last_mut().unwrap().name = format!("{name}s");
    let unknown = admin.migrate(&renamed, |_, _| {}).await;
    assert_eq!(unknown, Err(MigrationError::StepUnknown(name)));
    let newer = admin.migrate(&MigrationStep::embedded(), |_, _| {}).await;
    let newer_format = FormatError::Newer { found: FORMAT + 1, own: FORMAT };
    assert_eq!(newer, Err(MigrationError::Format(newer_format)));
    let misnumbered = admin.migrate(&steps(SECOND)[1..], |_, _| {}).await;
    assert_eq!(misnumbered, Err(MigrationError::Misnumbered));
}

#[tokio::test]
async fn data_are_not_migrated_while_a_service_runs() {
    let server = store_with_things().await;
    let mut processes = [0, 1].map(|_| Process::start(&["--redis-url", &server.url]));
    let mut admin = connect(&server).await;
    for process in &mut processes {
        let refused = admin.migrate(&steps(SECOND), |_, _| {}).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("{} ", process.address)), "{refused}");
        assert_eq!((migrated_things(&server), format_of(&server)), (0, Some(text(FORMAT, None))));
        process.signal(rustix::process::Signal::TERM);
        assert!(process.wait().success());
    }
    admin.migrate(&steps(SECOND), |_, _| {}).await.unwrap();

    // A registration that nobody renews has an end.
    set_format(&server, &text(FORMAT, None));
    let () = server.connection().zadd("lockstep:services", "killed", 1).unwrap();
    admin.migrate(&steps(SECOND), |_, _| {}).await.unwrap();
}

#[tokio::test]
async fn the_program_migrates_in_one_sentence() {
    let server = Server::of_this_run();
    let url = ["--redis-url", server.url.as_str()];
    assert_eq!(migrate(&url), (true, "there are no data to migrate\n".to_owned()));
    let service = Process::start(&url);
    let body = json!({ "account_id": "alice" });
    service.post("main", "/accounts", &body, "k").await.unwrap().assert(201);
    let present = format!("the data have format {FORMAT}, as they should\n");
    assert_eq!(migrate(&url), (true, present));
    set_format(&server, &text(FORMAT + 1, None));
    let (succeeded, printed) = migrate(&url);
    assert!(!succeeded && printed.contains("knows only format"), "{printed}");

    let folder = Folder::new();
    let missing = migrate(&["--data-dir", folder.path()]);
    assert!(!missing.0 && missing.1.contains("there is no data directory"), "{missing:?}");
    let mut service = Process::start(&["--data-dir", folder.path()]);
    let used = migrate(&["--data-dir", folder.path()]);
    assert!(!used.0 && used.1.contains("in use by another lockstep"), "{used:?}");
    service.signal(rustix::process::Signal::TERM);
    assert!(service.wait().success());
    assert!(migrate(&["--data-dir", folder.path()]).0);
}
