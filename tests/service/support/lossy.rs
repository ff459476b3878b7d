//! A proxy in front of Redis that loses replies: the commands arrive, the reply does not, and the connection is closed.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Carries the replies to `good` batches of scripts on each connection, and loses the next one.
pub struct LossyProxy {
    pub port: u16,
    lost: Arc<AtomicU64>,
}

impl LossyProxy {
    /// Starts one in front of this address, which may begin to listen later.
    pub async fn start(redis: String, good: usize) -> LossyProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lost = Arc::new(AtomicU64::new(0));
        let proxy = LossyProxy { port, lost: Arc::clone(&lost) };
        tokio::spawn(async move {
            loop {
                let (caller, _) = listener.accept().await.unwrap();
                let (redis, lost) = (redis.clone(), Arc::clone(&lost));
                tokio::spawn(async move {
                    if pass_until_lost(caller, &redis, good).await {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        proxy
    }

    /// The number of batches whose reply was lost so far.
    #[allow(dead_code, reason = "only tests/distributed uses it")]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Returns true when a reply was lost, and false when one of the two sides has closed the connection.
async fn pass_until_lost(mut caller: TcpStream, redis: &str, good: usize) -> bool {
    let Ok(mut server) = TcpStream::connect(redis).await else { return false };
    let (mut up, mut down) = ([0; 65536], [0; 65536]);
    let mut batches = 0;
    loop {
        tokio::select! {
            sent = caller.read(&mut up) => match sent {
                Ok(sent @ 1..) => {
                    batches += usize::from(String::from_utf8_lossy(&up[..sent]).contains("EVAL"));
                    if server.write_all(&up[..sent]).await.is_err() {
                        return false;
                    }
                }
                _ => return false,
            },
            answered = server.read(&mut down) => match answered {
                Ok(1..) if batches > good => return true,
                Ok(answered @ 1..) if caller.write_all(&down[..answered]).await.is_ok() => {}
                _ => return false,
            },
        }
    }
}
