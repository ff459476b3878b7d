//! The registration of a service with its store: the checks before the start, and the sign of life that
//! `lockstep migrate` looks for. `serve` calls it.

use std::{net::SocketAddr, time::Duration};

use tokio::time::sleep;
use uuid::Uuid;

use crate::store::{AdminConnection, REGISTRATION_TTL, StartRefusal};

/// The time between two attempts, while the server has not answered yet.
const RETRY_PERIOD: Duration = Duration::from_secs(1);

/// The longest wait for the end of a registration, which would hold up the end of the service.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A service that is to run on a store.
#[derive(Clone)]
pub(super) struct Registration {
    url: String,
    timeout: Duration,
    /// The name under which it is registered. Two containers may listen on the same address.
    service: String,
    /// True once the server has been found new enough and its user to have all rights.
    server_checked: bool,
}

impl Registration {
    pub(super) fn new(url: String, timeout: Duration, address: SocketAddr) -> Registration {
        let service = format!("{address} {}", Uuid::now_v7());
        Registration { url, timeout, service, server_checked: false }
    }

    /// Checks the server and the format of the data, and registers the service. Returns false where the
    /// server does not answer.
    ///
    /// # Errors
    ///
    /// The sentence that says why the service must not run.
    pub(super) async fn start(&mut self) -> Result<bool, String> {
        match self.register().await {
            Ok(policy) => {
                if let Some(policy) = policy.filter(|policy| policy != "noeviction") {
                    tracing::warn!(%policy, "maxmemory-policy can evict money: set it to noeviction");
                }
                Ok(true)
            }
            Err(StartRefusal::Unanswered(failure)) => {
                tracing::warn!(cause = %failure, "Redis has not answered yet; calls are refused until it does");
                Ok(false)
            }
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    /// Renews the registration again and again. Returns the sentence that says why the service
    /// must not run any more.
    pub(super) async fn keep(mut self) -> String {
        loop {
            sleep(if self.server_checked { REGISTRATION_TTL / 3 } else { RETRY_PERIOD }).await;
            match self.register().await {
                Ok(_) => {}
                Err(StartRefusal::Unanswered(failure)) => {
                    tracing::debug!(cause = %failure, "the registration was not renewed");
                }
                Err(refusal) => return refusal.to_string(),
            }
        }
    }

    /// Ends the registration. If that fails, it ends by itself soon.
    pub(super) async fn end(&self) {
        let time_limit = self.timeout.min(END_TIMEOUT);
        if let Ok(mut connection) = AdminConnection::connect(&self.url, time_limit).await {
            let _ = connection.deregister(&self.service).await;
        }
    }

    /// Registers the service, and the first time checks the server and returns its eviction policy.
    async fn register(&mut self) -> Result<Option<String>, StartRefusal> {
        let connecting = AdminConnection::connect(&self.url, self.timeout).await;
        let mut connection = connecting.map_err(StartRefusal::Unanswered)?;
        let mut policy = None;
        if !self.server_checked {
            connection.check_server().await?;
            policy = connection.eviction_policy().await;
        }
        connection.register(&self.service).await?;
        self.server_checked = true;
        Ok(policy)
    }
}
