//! Tests of the files of the certificate: those that cannot be used, and those that change.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;

use super::*;
use crate::support::wait_for;

/// The sentence with which the service refuses to start with these settings.
fn refusal(settings: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    program.args(["--listen", "127.0.0.1:0", "--redis-url", redis_url()]).args(settings);
    let output = program.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "{settings:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn files_that_cannot_be_used_are_refused_with_one_sentence() {
    let (identity, other) = (Identity::new(), Identity::new());
    let (cert, key) = (identity.cert.to_str().unwrap(), identity.key.to_str().unwrap());
    let other_key = other.key.to_str().unwrap();
    let folder = identity.folder.to_str().unwrap();
    let write = |name: &str, text: &str| {
        let path = identity.folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let wrapped = |what: &str, base64: &str| {
        format!("-----BEGIN {what}-----\n{base64}\n-----END {what}-----\n")
    };
    let empty = write("empty.pem", "");
    let missing = identity.folder.join("missing.pem");
    let missing = missing.to_str().unwrap();
    let no_base64 = write("no-base64.pem", &wrapped("CERTIFICATE", "!secret!"));
    let no_cert = write("no-cert.pem", &wrapped("CERTIFICATE", "AAAA"));
    let no_key = write("no-key.pem", &wrapped("PRIVATE KEY", "AAAA"));
    let locked = write("locked.pem", &wrapped("ENCRYPTED PRIVATE KEY", "AAAA"));
    let together = "--tls-cert and --tls-key belong together: give both";
    for (settings, sentence) in [
        (vec!["--tls-cert", cert], together.to_owned()),
        (vec!["--tls-key", key], together.to_owned()),
        (
            vec!["--tls-cert", missing, "--tls-key", key],
            format!("cannot read {missing} of --tls-cert: No such file"),
        ),
        (
            vec!["--tls-cert", cert, "--tls-key", missing],
            format!("cannot read {missing} of --tls-key: No such file"),
        ),
        (
            vec!["--tls-cert", folder, "--tls-key", key],
            format!("cannot read {folder} of --tls-cert: Is a directory"),
        ),
        (
            vec!["--tls-cert", &empty, "--tls-key", key],
            format!("{empty} of --tls-cert has no certificate in PEM"),
        ),
        (
            vec!["--tls-cert", key, "--tls-key", key],
            format!("{key} of --tls-cert has no certificate in PEM"),
        ),
        (
            vec!["--tls-cert", cert, "--tls-key", cert],
            format!("{cert} of --tls-key has no private key in PEM"),
        ),
        (
            vec!["--tls-cert", cert, "--tls-key", &locked],
            format!("{locked} of --tls-key has no private key in PEM"),
        ),
        (
            vec!["--tls-cert", &no_base64, "--tls-key", key],
            format!("{no_base64} of --tls-cert is not PEM"),
        ),
        (
            vec!["--tls-cert", &no_cert, "--tls-key", key],
            format!("{no_cert} of --tls-cert has a wrong certificate"),
        ),
        (
            vec!["--tls-cert", cert, "--tls-key", &no_key],
            format!("{no_key} of --tls-key cannot be used"),
        ),
        (
            vec!["--tls-cert", cert, "--tls-key", other_key],
            format!("{other_key} of --tls-key is not the key of {cert} of --tls-cert"),
        ),
    ] {
        let refused = refusal(&settings);
        assert!(refused.starts_with(&format!("lockstep: {sentence}")), "{settings:?}: {refused}");
        assert!(refused.lines().count() == 1 && !refused.contains("secret"), "{refused}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let mut identity = Identity::new();
    let log = identity.folder.join("log");
    let process = Process::start_at_level(
        "info",
        fs::File::create(&log).unwrap().into(),
        &[&["--redis-url", redis_url()], &identity.settings()[..]].concat(),
    );
    let mut http_2 = identity.http_2(&process).await;
    let mut http_1 = identity.http_1(&process).await;
    assert_eq!(http_2.get("/livez").await.0, 200);
    let old = identity.trusted.clone();
    identity.renew();
    // Nothing changes before the signal.
    assert!(identity.connect(&process, &["h2"]).await.is_err());
    process.signal(Signal::HUP);
    wait_for_line(&log, "INFO", "new connections get the certificate", 1);
    assert!(identity.is_served(&process).await);
    let renewed = std::mem::replace(&mut identity.trusted, old);
    assert!(
        identity.connect(&process, &["h2"]).await.is_err(),
        "the old one is not shown any more"
    );
    identity.trusted = renewed;
    // Open connections go on.
    assert_eq!(http_2.get("/livez").await.0, 200);
    assert!(ask_once(&mut http_1, "GET /livez", "").await.starts_with("HTTP/1.1 200"));

    // Files that cannot be used change nothing.
    let (cert, key) = (fs::read(&identity.cert).unwrap(), fs::read(&identity.key).unwrap());
    let other = Identity::new();
    fs::copy(&other.cert, &identity.cert).unwrap();
    process.signal(Signal::HUP);
    wait_for_line(&log, "WARN", "is not the key of", 1);
    assert!(identity.is_served(&process).await);
    fs::remove_file(&identity.cert).unwrap();
    process.signal(Signal::HUP);
    wait_for_line(&log, "WARN", "cannot read", 1);
    assert!(identity.is_served(&process).await);
    fs::write(&identity.cert, cert).unwrap();
    fs::write(&identity.key, "nonsense").unwrap();
    process.signal(Signal::HUP);
    wait_for_line(&log, "WARN", "has no private key", 1);
    assert!(identity.is_served(&process).await);
    // Once they are good again, so is the next signal.
    fs::write(&identity.key, key).unwrap();
    process.signal(Signal::HUP);
    wait_for_line(&log, "INFO", "new connections get the certificate", 2);
    assert!(identity.is_served(&process).await);
}

/// Waits until so many lines of a level have this text.
fn wait_for_line(log: &Path, level: &str, text: &str, count: usize) {
    wait_for(text, || {
        let log = fs::read_to_string(log).unwrap();
        let found = log.lines().filter(|line| line.contains(level) && line.contains(text));
        (found.count() >= count).then_some(())
    });
}

#[tokio::test]
async fn the_healthcheck_asks_over_tls() {
    let identity = Identity::new();
    let process = identity.serve(&[]);
    let check = |settings: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        program.args(["healthcheck", "--listen", &process.address]).args(settings).output().unwrap()
    };
    let cert = identity.cert.to_str().unwrap();
    while !check(&["--tls-cert", cert]).status.success() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!check(&[]).status.success());
    let plain = Process::shared();
    let mut program = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    program.args(["healthcheck", "--listen", &plain.address, "--tls-cert", cert]);
    assert!(!program.output().unwrap().status.success());
}
