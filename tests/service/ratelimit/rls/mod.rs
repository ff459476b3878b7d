//! Envoy's rate limit service, as a gateway sees it: decisions, connections, and the same limits as over HTTP.

mod connections;
mod decisions;
mod drain;
mod example;
mod quotas;
mod statistics;

use std::time::Duration;

use lockstep::{
    api::ShutdownGate,
    ratelimit::HeaderForm,
    rls::{
        self,
        messages::{
            DescriptorEntry, LimitCode, RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
            SHOULD_RATE_LIMIT,
        },
    },
    server::{Stop, Timeouts},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::support::Service;

type Answer = Result<RateLimitResponse, Status>;

/// A gateway: one connection to a rate limit service, and the domain that it asks about.
#[derive(Clone)]
struct Gateway {
    channel: Channel,
    domain: String,
}

impl Gateway {
    /// A gateway that connects when it first asks.
    fn to(address: &str, domain: &str) -> Gateway {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Gateway { channel: endpoint.connect_lazy(), domain: domain.to_owned() }
    }

    /// Asks about descriptors.
    async fn ask(&self, descriptors: Vec<RateLimitDescriptor>) -> Answer {
        let domain = self.domain.clone();
        self.send(RateLimitRequest { domain, descriptors, hits_addend: 0 }).await
    }

    async fn send(&self, request: RateLimitRequest) -> Answer {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<RateLimitRequest, RateLimitResponse>::default();
        let path = PathAndQuery::from_static(SHOULD_RATE_LIMIT);
        Ok(client.unary(Request::new(request), path, codec).await?.into_inner())
    }
}

/// The rate limit service of a [`Service`], on a port of its own.
struct Rls {
    gateway: Gateway,
    address: String,
    stop: Stop,
    gate: ShutdownGate,
    serving: JoinHandle<()>,
}

/// Bounds that no test comes near, but for those that change them.
fn bounds() -> rls::Bounds {
    let timeouts = Timeouts {
        first_byte: Duration::from_secs(20),
        header: Duration::from_secs(20),
        keep_alive: Duration::from_secs(20),
        body: Duration::from_secs(20),
        shutdown_delay: Duration::ZERO,
        drain: Duration::from_secs(20),
    };
    rls::Bounds {
        max_connections: 100,
        body_limit_bytes: 262_144,
        limit_headers: HeaderForm::Draft,
        timeouts,
    }
}

impl Rls {
    async fn of(service: &Service) -> Rls {
        Rls::with(service, bounds()).await
    }

    async fn with(service: &Service, bounds: rls::Bounds) -> Rls {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, gate) = (Stop::default(), ShutdownGate::default());
        let statistics = Some(service.statistics.clone());
        let serving = rls::serve(
            listener,
            service.store.clone(),
            gate.clone(),
            bounds,
            statistics,
            stop.clone(),
        );
        let gateway = Gateway::to(&address, &service.space);
        Rls { gateway, address, stop, gate, serving: tokio::spawn(serving) }
    }

    async fn ask(&self, descriptors: Vec<RateLimitDescriptor>) -> Answer {
        self.gateway.ask(descriptors).await
    }

    async fn send(&self, request: RateLimitRequest) -> Answer {
        self.gateway.send(request).await
    }

    /// A request about this service's space.
    fn request(&self, descriptors: Vec<RateLimitDescriptor>, hits_addend: u32) -> RateLimitRequest {
        RateLimitRequest { domain: self.gateway.domain.clone(), descriptors, hits_addend }
    }
}

impl Drop for Rls {
    fn drop(&mut self) {
        self.stop.at_once.cancel();
    }
}

/// A descriptor with these entries.
fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| DescriptorEntry {
        key: (*key).to_owned(),
        value: value.as_bytes().to_vec(),
    };
    RateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        ..RateLimitDescriptor::default()
    }
}

/// The descriptor of the user `k` under a policy.
fn user(policy: &str) -> RateLimitDescriptor {
    descriptor(&[("generic_key", policy), ("user", "k")])
}

/// The codes of all descriptors.
fn codes(response: &RateLimitResponse) -> Vec<LimitCode> {
    response.statuses.iter().map(|status| status.code()).collect()
}

/// The value of a header of an answer.
fn header<'a>(response: &'a RateLimitResponse, name: &str) -> Option<&'a str> {
    let mut headers = response.response_headers_to_add.iter();
    headers.find(|header| header.key == name).map(|header| header.value.as_str())
}
