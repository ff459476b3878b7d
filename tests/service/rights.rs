//! Tests of the checks at the start that ask about the server: its version and the rights of its user.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use lockstep::store::{Access, AdminConnection, COMMANDS, StartRefusal};

use crate::{
    catalogue::{Seeded, catalogue},
    embedded::start_error,
    support::{Process, Server, Service, url_without},
};

async fn check(url: &str) -> Result<(), StartRefusal> {
    let timeout = std::time::Duration::from_secs(20);
    AdminConnection::connect(url, &Access::default(), timeout).await.unwrap().check_server().await
}

#[tokio::test]
async fn each_missing_right_is_named() {
    let server = Server::start(&[]);
    for command in COMMANDS {
        let url = url_without(&server, &[&format!("+{}", command.to_lowercase())], &[]);
        let missing = vec![(*command).to_owned()];
        assert_eq!(check(&url).await, Err(StartRefusal::MissingRights(missing)));
    }
}

#[tokio::test]
async fn a_service_does_not_start_without_a_right() {
    let server = Server::start(&[]);
    for (lacking, sentence) in [
        (&["+rpush"][..], "lacks the right to run RPUSH: "),
        (&["+zadd", "+hdel"], "lacks the right to run HDEL, ZADD: "),
        (&["+info", "+ping"], "lacks the right to run INFO, PING: "),
        (&["+eval"], "lacks the right to run EVAL: "),
        (&["~lockstep:*"], "grant it the key patterns lockstep:* and lockstep-data:*"),
        (&["~lockstep-data:*"], "grant it the key patterns lockstep:* and lockstep-data:*"),
    ] {
        let url = url_without(&server, lacking, &[]);
        let error = start_error(&["--redis-url", &url]);
        assert!(error.contains(sentence), "{lacking:?}: {error}");
    }
    for pattern in ["~lockstep:{*", "%R~lockstep:*"] {
        let url = url_without(&server, &["~lockstep:*"], &[pattern]);
        let error = start_error(&["--redis-url", &url]);
        assert!(error.contains("grant it the key patterns"), "{pattern}: {error}");
    }
    let process = Process::start(&["--redis-url", &url_without(&server, &[], &[])]);
    process.get("main", "/readyz").await.unwrap().assert(200);
}

#[tokio::test]
async fn every_operation_runs_with_the_documented_rights() {
    let server = Server::start(&[]);
    let url = url_without(&server, &[], &[]);
    let service = Service::with(|settings| settings.url.clone_from(&url));
    for entry in catalogue() {
        let answer = Seeded::new(&service, entry.needs).await.call(&entry).await;
        assert!(answer.status.is_success(), "{}: {:#}", entry.name, answer.body);
    }
}

/// Answers every command on a port with INFO of an old server.
fn old_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut received) = (stream.unwrap(), [0; 4096]);
            std::thread::spawn(move || {
                while let Ok(length @ 1..) = stream.read(&mut received) {
                    let text = String::from_utf8_lossy(&received[..length]).into_owned();
                    for command in text.split('*').skip(1) {
                        let info = "redis_version:6.2.14\r\n";
                        let _ = match command.contains("CLUSTER\r\n") {
                            true => write!(
                                stream,
                                "-ERR This instance has cluster support disabled\r\n"
                            ),
                            false => write!(stream, "${}\r\n{info}\r\n", info.len()),
                        };
                    }
                }
            });
        }
    });
    url
}

#[test]
fn a_server_that_is_too_old_is_refused() {
    let error = start_error(&["--redis-url", &old_server()]);
    assert!(error.contains("the server is Redis 6.2.14: use Redis 7.0 or newer"), "{error}");
}
