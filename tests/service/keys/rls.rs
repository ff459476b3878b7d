//! Gateways that ask Envoy's rate limit service have a key too, in the metadata `authorization`.

use std::time::Duration;

use lockstep::{
    auth::CallerKey,
    ratelimit::HeaderForm,
    rls::{
        self,
        messages::{
            DescriptorEntry, RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
            SHOULD_RATE_LIMIT,
        },
    },
    server::{Stop, Timeouts},
};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};
use tonic_prost::ProstCodec;

use crate::support::Service;

/// Asks with a key, and returns the code of gRPC.
async fn ask(address: &str, domain: &str, key: Option<&str>) -> Code {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let entry = |key: &str, value: &str| DescriptorEntry {
        key: key.to_owned(),
        value: value.as_bytes().to_vec(),
    };
    let descriptor = RateLimitDescriptor {
        entries: vec![entry("generic_key", "api"), entry("user", "k")],
        ..RateLimitDescriptor::default()
    };
    let mut request = Request::new(RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: vec![descriptor],
        hits_addend: 0,
    });
    if let Some(key) = key {
        let value = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let codec = ProstCodec::<RateLimitRequest, RateLimitResponse>::default();
    let path = PathAndQuery::from_static(SHOULD_RATE_LIMIT);
    client.unary(request, path, codec).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn a_gateway_needs_a_key_for_its_space() {
    let root = Service::with_keys().await;
    let writer = root.make_key(&["ratelimit:write"], &[&root.space]).await;
    let policy = json!({ "algorithm": "fixed_window", "limit": 5, "window_ms": 60_000 });
    root.as_caller(&writer).put("/ratelimit/policies/api", policy).await.assert(201);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let long = Duration::from_secs(20);
    let timeouts = Timeouts {
        first_byte: long,
        header: long,
        keep_alive: long,
        body: long,
        shutdown_delay: Duration::ZERO,
        drain: long,
    };
    let bounds = rls::Bounds {
        max_connections: 100,
        body_limit_bytes: 262_144,
        limit_headers: HeaderForm::Draft,
        timeouts,
    };
    let stop = Stop::default();
    let serving =
        rls::serve(listener, root.store.clone(), root.gate.clone(), bounds, None, stop.clone());
    let serving = tokio::spawn(serving);
    let before = root.snapshot().len();
    let unknown = CallerKey::generate().unwrap();
    let reader = root.make_key(&["ratelimit:read"], &["*"]).await;
    let elsewhere = root.make_key(&["ratelimit:write"], &["elsewhere"]).await;
    let named = root.make_key(&["ratelimit/authorize"], &["*"]).await;
    for (key, code) in [
        (None, Code::Unauthenticated),
        (Some(unknown.text()), Code::Unauthenticated),
        (Some(reader.as_str()), Code::PermissionDenied),
        (Some(elsewhere.as_str()), Code::PermissionDenied),
    ] {
        assert_eq!(ask(&address, &root.space, key).await, code);
    }
    // Each of the three keys that were made has a record; nothing was taken of the limit.
    assert_eq!(root.snapshot().len(), before + 3);
    assert_eq!(ask(&address, &root.space, Some(&writer)).await, Code::Ok);
    assert_eq!(ask(&address, &root.space, Some(&named)).await, Code::Ok);
    stop.at_once.cancel();
    serving.await.unwrap();
}
