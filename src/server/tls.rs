//! TLS of the service: its certificate, which is read again on SIGHUP, and the handshake of a connection. `cli::serve`
//! reads the files, and `server` has each connection of a service with TLS begin here.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{Error, ServerConfig, crypto::ring},
    server::TlsStream,
};

use super::{
    connection::{self, ConnectionContext},
    http2,
    socket::close,
};
use crate::pem_file::{read_certificates, read_private_key};

/// The protocols that a caller may choose, the best one first (ALPN).
const PROTOCOLS: [&[u8]; 2] = [HTTP_2, b"http/1.1"];
const HTTP_2: &[u8] = b"h2";

/// The first byte of every handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// The most bytes that are encrypted before the caller takes them. It has to take as many in the time in which a caller
/// without TLS takes one.
const SEND_BUFFER: usize = 16 * 1024;

const CERT_SETTING: &str = "--tls-cert";
const KEY_SETTING: &str = "--tls-key";

/// The files that say who the service is.
#[derive(Debug, Clone)]
pub struct IdentityFiles {
    /// The certificate of the service and those between it and its authority, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// The certificate that new connections are shown.
pub struct TlsIdentity {
    files: IdentityFiles,
    current: RwLock<TlsAcceptor>,
}

impl TlsIdentity {
    /// Reads the files, and blocks while it does.
    ///
    /// # Errors
    ///
    /// The sentence about a file that cannot be used.
    pub fn read(files: IdentityFiles) -> Result<TlsIdentity, String> {
        let current = RwLock::new(files.acceptor()?);
        Ok(TlsIdentity { files, current })
    }

    /// Reads the files again, and blocks while it does. New connections get what they hold now, and open ones go on.
    ///
    /// # Errors
    ///
    /// The sentence about a file that cannot be used. The old certificate stays.
    pub fn read_again(&self) -> Result<(), String> {
        let acceptor = self.files.acceptor()?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        Ok(())
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl IdentityFiles {
    fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let certificates = read_certificates(CERT_SETTING, &self.cert)?;
        let key = read_private_key(KEY_SETTING, &self.key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| self.unusable(&error))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn unusable(&self, error: &Error) -> String {
        let (cert, key) = (self.cert.display(), self.key.display());
        match error {
            Error::InconsistentKeys(_) => {
                format!("{key} of {KEY_SETTING} is not the key of {cert} of {CERT_SETTING}")
            }
            Error::InvalidCertificate(_) => {
                format!("{cert} of {CERT_SETTING} has a wrong certificate: {error}")
            }
            _ => format!("{key} of {KEY_SETTING} cannot be used: {error}"),
        }
    }
}

/// Serves one connection, once it is encrypted, by the protocol that its caller has chosen.
pub(super) async fn run(
    mut socket: TcpStream,
    identity: &TlsIdentity,
    context: &Arc<ConnectionContext>,
) {
    connection::send_at_once(&socket);
    let wait = context.timeouts.first_byte;
    if connection::next_byte(&mut socket, wait, context).await.is_none() {
        return;
    }
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(1) if first == [HANDSHAKE] => {}
        Ok(1) if first[0].is_ascii_uppercase() => return refuse_plain(socket, context).await,
        _ => return,
    }
    let Some(mut stream) = encrypt(socket, identity.acceptor(), context).await else { return };
    stream.get_mut().1.set_buffer_limit(Some(SEND_BUFFER));
    match stream.get_ref().1.alpn_protocol() {
        Some(HTTP_2) => Box::pin(http2::run(stream, context)).await,
        _ => Box::pin(connection::run(stream, context)).await,
    }
}

/// Does the handshake, which has the time of a head.
async fn encrypt(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    context: &ConnectionContext,
) -> Option<TlsStream<TcpStream>> {
    let accepting = timeout(context.timeouts.header, acceptor.accept(socket).into_fallible());
    let accepted = tokio::select! {
        accepted = accepting => accepted.ok()?,
        () = context.closing.cancelled() => return None,
    };
    match accepted {
        Ok(stream) => Some(stream),
        Err((error, socket)) => {
            tracing::debug!(%error, "the handshake of a connection failed");
            close(socket, context).await;
            None
        }
    }
}

/// Tells a caller that speaks HTTP without TLS what to do.
async fn refuse_plain(mut socket: TcpStream, context: &ConnectionContext) {
    const SENTENCE: &str = "This port speaks TLS: use https.\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{SENTENCE}",
        SENTENCE.len()
    );
    if let Ok(Ok(())) = timeout(context.timeouts.body, socket.write_all(answer.as_bytes())).await {
        close(socket, context).await;
    }
}
