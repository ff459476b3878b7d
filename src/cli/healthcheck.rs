//! `lockstep healthcheck`: for containers, which have no curl.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use crate::config::Healthcheck;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks `GET /readyz` of a running service, and fails unless it answers 200.
pub(super) fn ask(settings: &Healthcheck) -> Result<(), String> {
    let address = reachable(settings.listen);
    let answer = get(address, &format!("{}/readyz", settings.base_path))
        .map_err(|error| format!("{address} does not answer: {error}"))?;
    let status = answer.lines().next().unwrap_or_default();
    if status.contains(" 200 ") {
        return Ok(());
    }
    let problem = answer.split("\r\n\r\n").nth(1).and_then(|body| serde_json::from_str(body).ok());
    let problem: Value = problem.unwrap_or_default();
    let reason = problem["reason"].as_str().or(problem["detail"].as_str()).unwrap_or(status);
    Err(format!("{address} is not ready: {reason}"))
}

/// The address to connect to. A service that listens on all addresses is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
