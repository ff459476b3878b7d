//! A connection without a driver: each command is written, and each reply read, when it is asked for. `route` greets
//! a server on it and `sentinel` asks one question; `script_trace` uses it because the debugger of Redis answers one
//! command with several replies.

use std::{io, pin::Pin};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};

use crate::store::ScriptValue;

/// The most bytes of one line or string of a reply.
const MAX_BYTES: usize = 64 << 20;

/// A socket of any kind.
pub trait RawSocket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> RawSocket for S {}

/// A connection on which each command is written, and each reply read, when it is asked for.
pub(in crate::store) struct RawConnection(BufStream<Box<dyn RawSocket>>);

impl RawConnection {
    pub(super) fn new(socket: Box<dyn RawSocket>) -> RawConnection {
        RawConnection(BufStream::new(socket))
    }

    /// The socket. Every command has its reply, so nothing is left of either.
    pub(super) fn into_socket(self) -> Box<dyn RawSocket> {
        self.0.into_inner()
    }

    /// Sends a command.
    pub async fn send(&mut self, words: &[impl AsRef<[u8]>]) -> io::Result<()> {
        self.write(words).await?;
        self.0.flush().await
    }

    async fn write(&mut self, words: &[impl AsRef<[u8]>]) -> io::Result<()> {
        let mut text = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            text.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            text.extend_from_slice(word);
            text.extend_from_slice(b"\r\n");
        }
        self.0.write_all(&text).await
    }

    /// Sends commands at once and reads their replies.
    ///
    /// # Errors
    ///
    /// The error of the socket. An error reply is a reply.
    pub async fn ask_all(&mut self, commands: &[Vec<&[u8]>]) -> io::Result<Vec<ScriptValue>> {
        for words in commands {
            self.write(words).await?;
        }
        self.0.flush().await?;
        let mut replies = Vec::with_capacity(commands.len());
        for _ in commands {
            replies.push(self.reply().await?);
        }
        Ok(replies)
    }

    /// Sends a command and reads its reply.
    ///
    /// # Errors
    ///
    /// The error of the socket, or one with the text of an error reply.
    pub async fn ask(&mut self, words: &[&str]) -> io::Result<ScriptValue> {
        self.send(words).await?;
        match self.reply().await? {
            ScriptValue::Error(message) => Err(io::Error::other(message)),
            reply => Ok(reply),
        }
    }

    /// Reads a reply.
    pub fn reply(&mut self) -> Pin<Box<dyn Future<Output = io::Result<ScriptValue>> + Send + '_>> {
        Box::pin(async move {
            let line = self.line().await?;
            let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
            let number = || rest.parse::<i64>().map_err(|_| io::ErrorKind::InvalidData);
            Ok(match kind {
                "+" => ScriptValue::Status(rest.to_owned()),
                "-" => ScriptValue::Error(rest.to_owned()),
                ":" => ScriptValue::Number(number()?),
                "$" => match usize::try_from(number()?) {
                    Ok(length) if length <= MAX_BYTES => {
                        let mut bytes = vec![0; length + 2];
                        self.0.read_exact(&mut bytes).await?;
                        bytes.truncate(length);
                        ScriptValue::Bytes(bytes)
                    }
                    _ => ScriptValue::Nil,
                },
                "*" => match usize::try_from(number()?) {
                    Ok(count) => {
                        let mut values = Vec::new();
                        for _ in 0..count {
                            values.push(self.reply().await?);
                        }
                        ScriptValue::Array(values)
                    }
                    Err(_) => ScriptValue::Nil,
                },
                _ => return Err(io::ErrorKind::InvalidData.into()),
            })
        })
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.0).take(MAX_BYTES as u64).read_until(b'\n', &mut line).await?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        Ok(line)
    }
}
