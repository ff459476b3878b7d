mod connections;
mod contention;
mod failures;
mod flush;
mod health;
mod processes;
mod scripts;
mod transactions;

use lockstep::{monitoring::Flusher, store::FORMAT};
use redis::Commands;
use serde_json::{Value, json};

use crate::support::{Server, Service};

/// A service on a Redis of its own, because statistics belong to no space.
struct Monitored {
    server: Server,
    service: Service,
    flusher: Flusher,
}

impl Monitored {
    fn new() -> Monitored {
        Monitored::on(Server::of_this_run())
    }

    fn on(server: Server) -> Monitored {
        // Programs refuse a store that has data and no format.
        let format = format!("{{\"format\":{FORMAT}}}");
        let () = server.connection().set("lockstep:format", format).unwrap();
        let service = Service::on_own_redis(&server);
        let flusher = Flusher::new(service.store.clone(), service.statistics.clone());
        Monitored { server, service, flusher }
    }

    /// Stores all statistics, and returns those of the last `hours`.
    async fn flushed(&mut self, query: &str) -> Value {
        self.flusher.finish().await.unwrap();
        self.statistics(query).await
    }

    async fn statistics(&self, query: &str) -> Value {
        self.service.get(&format!("/monitoring/transactions{query}")).await.assert(200)
    }

    /// Opens alice with 10.00 and bob with nothing, and has alice pay 1.00 and then 100.00.
    async fn pay(&self) {
        self.service.open("alice", "10").await;
        self.service.open("bob", "0").await;
        self.service.transfer("alice", "bob", "1").await.assert(201);
        let refused = self.service.transfer("alice", "bob", "100").await;
        refused.expect_problem(409, "insufficient_funds");
    }
}

/// The statistics of one operation.
fn of_operation(statistics: &Value, operation: &str) -> Value {
    let groups = statistics["groups"].as_array().unwrap();
    let found = groups.iter().find(|group| group["operation"] == operation);
    found.cloned().unwrap_or_else(|| json!(null))
}
