//! Tests of the service's own TLS: its certificate (`certificate`), both protocols (`protocols`), their bounds (`bounds`),
//! floods of frames of HTTP/2 (`floods`), which are written by hand (`frames`), and the end of the service (`drain`).

mod bounds;
mod certificate;
mod drain;
mod floods;
mod frames;
mod protocols;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::body::Bytes;
use axum::http::{Request, Response, StatusCode};
use h2::client::SendRequest;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

use crate::support::{Process, redis_url, unique};

/// The longest wait for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

type Stream = TlsStream<TcpStream>;

/// A certificate for loopback that signs itself, and its files.
struct Identity {
    folder: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    trusted: CertificateDer<'static>,
}

impl Identity {
    fn new() -> Identity {
        let folder = std::env::temp_dir().join(unique("ls-tls-"));
        std::fs::create_dir_all(&folder).unwrap();
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let mut identity =
            Identity { folder, cert, key, trusted: CertificateDer::from(Vec::new()) };
        identity.renew();
        identity
    }

    /// Writes another certificate and key to the same files.
    fn renew(&mut self) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(&self.cert, made.cert.pem()).unwrap();
        std::fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
        self.trusted = made.cert.der().clone();
    }

    /// The settings that name the files.
    fn settings(&self) -> [&str; 4] {
        ["--tls-cert", self.cert.to_str().unwrap(), "--tls-key", self.key.to_str().unwrap()]
    }

    /// The service with this certificate, on the Redis that the tests share.
    fn serve(&self, more: &[&str]) -> Process {
        Process::start(&[&["--redis-url", redis_url()], &self.settings()[..], more].concat())
    }

    /// A connection on which the client offers these protocols.
    async fn connect(&self, process: &Process, protocols: &[&str]) -> io::Result<Stream> {
        let mut trusted = RootCertStore::empty();
        trusted.add(self.trusted.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // With a small buffer, a caller that does not read is soon one that takes nothing.
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(16 * 1024)?;
        let socket = socket.connect(process.address.parse().unwrap()).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, socket);
        timeout(PATIENCE, connecting).await.expect("no handshake")
    }

    /// A connection of HTTP/1.1.
    async fn http_1(&self, process: &Process) -> Stream {
        self.connect(process, &["http/1.1"]).await.unwrap()
    }

    /// A connection of HTTP/2, whose frames are written by hand.
    async fn raw_http_2(&self, process: &Process) -> Stream {
        let stream = self.connect(process, &["h2"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        stream
    }

    /// A connection of HTTP/2.
    async fn http_2(&self, process: &Process) -> Http2 {
        let stream = self.raw_http_2(process).await;
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        Http2 { sender, connection: tokio::spawn(connection) }
    }

    /// True if a new connection is answered.
    async fn is_served(&self, process: &Process) -> bool {
        self.http_2(process).await.get("/livez").await.0 == 200
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A client of HTTP/2.
struct Http2 {
    sender: SendRequest<Bytes>,
    /// Ends with the connection.
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    /// One request; its status and its body as JSON.
    async fn send(&mut self, request: Request<()>, body: Option<Value>) -> (u16, Value) {
        let (head, text) = self.send_to_end(request, body).await.unwrap();
        (head.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
    }

    /// One request; its answer, or the reason for which there is none.
    async fn send_to_end(
        &mut self,
        request: Request<()>,
        body: Option<Value>,
    ) -> Result<(Response<()>, String), h2::Error> {
        timeout(PATIENCE, answer_of(self.begin(request, body).await?)).await.expect("no answer")
    }

    /// One request that is not waited for.
    async fn begin(
        &mut self,
        request: Request<()>,
        body: Option<Value>,
    ) -> Result<h2::client::ResponseFuture, h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut sending) = sender.send_request(request, body.is_none())?;
        if let Some(body) = body {
            sending.send_data(body.to_string().into(), true)?;
        }
        Ok(answer)
    }

    async fn get(&mut self, path: &str) -> (u16, Value) {
        self.send(Request::get(url(path)).body(()).unwrap(), None).await
    }

    async fn post(&mut self, space: &str, path: &str, body: Value) -> (u16, Value) {
        self.send(post(space, path), Some(body)).await
    }
}

async fn answer_of(
    answer: h2::client::ResponseFuture,
) -> Result<(Response<()>, String), h2::Error> {
    let (head, mut body) = answer.await?.into_parts();
    let mut text = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        text.extend_from_slice(&part);
    }
    Ok((Response::from_parts(head, ()), String::from_utf8(text).unwrap()))
}

fn url(path: &str) -> String {
    format!("https://localhost{path}")
}

fn post(space: &str, path: &str) -> Request<()> {
    Request::post(url(path))
        .header("content-type", "application/json")
        .header("lockstep-space", space)
        .body(())
        .unwrap()
}

/// One call of HTTP/1.1 on a connection that ends after it; the whole answer.
async fn ask_once(stream: &mut Stream, head: &str, body: &str) -> String {
    let call = format!(
        "{head} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(call.as_bytes()).await.unwrap();
    rest(stream).await
}

/// Everything until the other side ends the connection, in order or not.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut text)).await;
    let _ = read.expect("the connection should have been closed");
    String::from_utf8_lossy(&text).into_owned()
}
