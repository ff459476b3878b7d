//! The registration of a service with its store: the checks before the start, and the sign of life that
//! `lockstep migrate` looks for. `serve` calls it.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{
    keys,
    store::{AdminConnection, Failure, REGISTRATION_TTL, StartRefusal, Store},
};

/// The time between two attempts, while the server does not serve yet.
const RETRY_PERIOD: Duration = Duration::from_millis(250);

/// The longest wait for the end of a registration, which would hold up the end of the service.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A service that is to run on a store.
#[derive(Clone)]
pub(super) struct Registration {
    /// The name under which it is registered. Two containers may listen on the same address.
    service: String,
    /// True for a service that takes calls without keys, and so must not run on data that have some.
    is_open: bool,
    /// Set once the server has been found good and the service is registered.
    registered: Arc<OnceLock<()>>,
}

impl Registration {
    pub(super) fn new(address: SocketAddr, is_open: bool) -> Registration {
        let service = format!("{address} {}", Uuid::now_v7());
        Registration { service, is_open, registered: Arc::default() }
    }

    /// Checks the server and the format of the data and registers the service, as soon as the server lets
    /// it; then has the calls of `store` sent, and renews the registration again and again. Calls
    /// `attempted` after the first attempt, whatever became of it. Returns the sentence that says why the
    /// service must not run any more.
    pub(super) async fn keep(self, store: Store, attempted: impl FnOnce()) -> String {
        let mut attempted = Some(attempted);
        let mut told = None;
        loop {
            match self.register(&store).await {
                Ok(()) => {
                    store.admit();
                    attempted.take().into_iter().for_each(|attempted| attempted());
                    sleep(REGISTRATION_TTL / 3).await;
                }
                Err(StartRefusal::Unanswered(failure)) => {
                    self.tell(&failure, &mut told, &store);
                    attempted.take().into_iter().for_each(|attempted| attempted());
                    sleep(self.pause()).await;
                }
                Err(refusal) => return refusal.to_string(),
            }
        }
    }

    /// Logs why the service is not registered, and holds calls back where it has never been. The same
    /// reason is logged once.
    fn tell(&self, failure: &Failure, told: &mut Option<Failure>, store: &Store) {
        if self.is_registered() {
            return tracing::debug!(cause = %failure, "the registration was not renewed");
        }
        store.hold_back(failure.clone());
        if told.as_ref() != Some(failure) {
            tracing::warn!(cause = %failure, "Redis does not serve yet; calls are refused until it does");
            *told = Some(failure.clone());
        }
    }

    fn pause(&self) -> Duration {
        if self.is_registered() { REGISTRATION_TTL / 3 } else { RETRY_PERIOD }
    }

    fn is_registered(&self) -> bool {
        self.registered.get().is_some()
    }

    /// Ends the registration, where there is one. If that fails, it ends by itself soon.
    pub(super) async fn end(&self, store: &Store) {
        if !self.is_registered() {
            return;
        }
        let end = async {
            if let Ok(mut connection) = store.connect_admin().await {
                let _ = connection.deregister(&self.service).await;
            }
        };
        let _ = timeout(END_TIMEOUT, end).await;
    }

    /// Registers the service; the first time, checks the server before.
    async fn register(&self, store: &Store) -> Result<(), StartRefusal> {
        let mut connection = store.connect_admin().await?;
        let first = !self.is_registered();
        if first {
            connection.check_server().await?;
            if store.awaits_replicas() {
                connection.check_wait().await?;
            }
            if self.is_open && connection.has(&keys::version_key()).await? {
                return Err(StartRefusal::HasKeys);
            }
        }
        connection.register(&self.service).await?;
        if first {
            warn_of_eviction(&mut connection).await;
            warn_of_grants(&mut connection, store.timeout()).await;
            let _ = self.registered.set(());
        }
        Ok(())
    }
}

/// Warns of a server whose replicas cannot be waited for, although there are some.
async fn warn_of_grants(connection: &mut AdminConnection, timeout: Duration) {
    if let Ok(1..) = connection.count_replicas(timeout).await
        && let Err(StartRefusal::NoWait(cause)) = connection.check_wait().await
    {
        tracing::warn!(
            %cause,
            "a failover can forget the grant of a lock, because Redis refuses the command WAIT"
        );
    }
}

/// Warns of a server that can evict money, or does not say whether it can.
async fn warn_of_eviction(connection: &mut AdminConnection) {
    match connection.eviction_policy().await {
        Ok(Some(policy)) if policy == "noeviction" => {}
        Ok(Some(policy)) => {
            tracing::warn!(%policy, "maxmemory-policy can evict money: set it to noeviction");
        }
        Ok(None) => tracing::warn!(
            "Redis does not tell its maxmemory-policy: make sure that it is noeviction, or it can evict money"
        ),
        Err(refusal) => tracing::warn!(
            cause = %refusal,
            "Redis did not tell its maxmemory-policy: make sure that it is noeviction, or it can evict money"
        ),
    }
}
