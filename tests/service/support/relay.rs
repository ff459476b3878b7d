//! An address that can lead to another server: a relay in front of Redis.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::Server;

/// Passes connections on to a server. Those that are open stay with their server when the address moves.
pub struct Relay {
    pub url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The address that new connections lead to.
    target: String,
    /// What cuts each open connection, and is told when its caller has noticed.
    open: Vec<oneshot::Sender<oneshot::Sender<()>>>,
}

impl Relay {
    pub async fn to(server: &Server) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let state = State { target: address(server), open: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let relay = Relay { url, state: Arc::clone(&state) };
        tokio::spawn(async move {
            loop {
                let (caller, _) = listener.accept().await.unwrap();
                let (cut, cutting) = oneshot::channel();
                let target = {
                    let mut state = state.lock().unwrap();
                    state.open.push(cut);
                    state.target.clone()
                };
                tokio::spawn(pass(caller, target, cutting));
            }
        });
        relay
    }

    /// Leads new connections to another server.
    pub fn move_to(&self, server: &Server) {
        self.state.lock().unwrap().target = address(server);
    }

    /// Closes all open connections, and returns when their callers have noticed.
    pub async fn cut(&self) {
        let open = mem::take(&mut self.state.lock().unwrap().open);
        for connection in open {
            let (noticed, noticing) = oneshot::channel();
            if connection.send(noticed).is_ok() {
                let _ = noticing.await;
            }
        }
    }
}

fn address(server: &Server) -> String {
    server.url.trim_start_matches("redis://").to_owned()
}

async fn pass(
    mut caller: TcpStream,
    target: String,
    cutting: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut caller, &mut server) => {}
        cut = cutting => {
            let Ok(noticed) = cut else { return };
            let _ = caller.shutdown().await;
            let mut rest = [0; 4096];
            while matches!(caller.read(&mut rest).await, Ok(1..)) {}
            let _ = noticed.send(());
        }
    }
}
