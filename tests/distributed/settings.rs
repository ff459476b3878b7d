//! Tests of settings of the way to the server that are wrong: each is one sentence, before the service listens.

use std::process::Command;

use crate::{
    certificates::Certificates,
    support::{Server, free_port},
};

/// What the program says when it ends at once. It must not have listened.
fn refusal(arguments: &[&str]) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1), "{arguments:?}");
    assert!(ended.stdout.is_empty(), "{arguments:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn each_wrong_setting_is_one_sentence_before_the_service_listens() {
    let files = Certificates::new();
    let path = |file: &str| files.path(file);
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let empty = files.write("empty", "\n");
    let text = files.write("text", "no PEM");
    let missing = path("missing");
    let tls = ["--redis-url", "rediss://h"];
    let plain = ["--redis-url", "redis://h"];
    for (url, more, sentence) in [
        (["--redis-url", "h:6379"], vec![], "cannot use --redis-url: it has no scheme"),
        (["--redis-url", "http://h"], vec![], "none of redis://, rediss:// and unix://"),
        (["--redis-url", "redis://u:secret@h:x"], vec![], "\"h:x\" in it is not HOST:PORT"),
        (["--redis-url", "redis://u:secret@h/x"], vec![], "not the number of a database"),
        (["--redis-url", "redis://u:sec%ret@h"], vec![], "write it as %25"),
        (["--redis-url", "redis://u@h"], vec![], "needs a password"),
        (plain, vec!["--redis-user", "u"], "needs a password"),
        (
            ["--redis-url", "redis://u:secret@h"],
            vec!["--redis-user", "u"],
            "give the user in --redis-url or by --redis-user, not both",
        ),
        (
            ["--redis-url", "redis://:secret@h"],
            vec!["--redis-password-file", &text],
            "give the password in --redis-url or by --redis-password-file, not both",
        ),
        (plain, vec!["--redis-password-file", &missing], "--redis-password-file: No such file"),
        (plain, vec!["--redis-password-file", &empty], "has no password in it"),
        (plain, vec!["--redis-ca-file", &ca], "change its scheme"),
        (tls, vec!["--redis-ca-file", &missing], "--redis-ca-file: No such file"),
        (tls, vec!["--redis-ca-file", &text], "has no certificate in PEM"),
        (tls, vec!["--redis-client-cert", &cert], "belong together"),
        (tls, vec!["--redis-client-key", &key], "belong together"),
        (
            tls,
            vec!["--redis-client-cert", &cert, "--redis-client-key", &text],
            "has no private key in PEM",
        ),
        (
            tls,
            vec!["--redis-client-cert", &ca, "--redis-client-key", &key],
            "does not fit the certificate",
        ),
        (["--redis-url", "redis://a,b"], vec!["--redis-mode", "single"], "several addresses"),
        (["--redis-url", "unix:///s"], vec!["--redis-mode", "sentinel"], "not by a socket"),
        (plain, vec!["--redis-node-map", "a:1=b:1,a:1=c:1"], "--redis-node-map has a:1 twice"),
        (["--data-dir", "/dev/null/x"], vec!["--redis-password-file", &text], "need --redis-url"),
    ] {
        let arguments = [url.as_slice(), &more].concat();
        let said = refusal(&arguments);
        assert!(said.contains(sentence) && !said.contains("secret"), "{arguments:?}: {said}");
    }
}

/// What only the server can tell ends the service, too, with one sentence in the log.
#[test]
fn several_addresses_of_plain_servers_are_refused() {
    let servers = [Server::start(&[]), Server::start(&[])];
    let url = format!("{},{}", servers[0].url, servers[1].url);
    let ended = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--listen", "127.0.0.1:0", "--redis-url", &url])
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && said.contains("is no sentinel"), "{said}");
}
