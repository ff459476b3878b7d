use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use lockstep::rls::messages::LimitCode;
use rustix::process::Signal;
use tokio::time::timeout;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Gateway, Rls, bounds, user};
use crate::{
    ratelimit::{put, rules},
    support::{Process, Server, Service, free_port, race, redis_url, wait_until},
};

/// A call that a gateway had sent before it heard of the end is answered: as many units are gone as answers came.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_service_loses_no_answer() {
    let service = Service::new();
    put(&service, "api", &rules(1_000_000)[3]).await.assert(201);
    let address = format!("127.0.0.1:{}", free_port());
    let arguments = ["--redis-url", redis_url(), "--rls-listen", &address];
    let mut process = Process::start(&arguments);
    let admitted = Arc::new(AtomicU64::new(0));
    let callers = race(16, |_| {
        let gateway = Gateway::to(&address, &service.space);
        let admitted = admitted.clone();
        async move {
            loop {
                match gateway.ask(vec![user("api")]).await {
                    Ok(answer) => assert_eq!(answer.overall_code(), LimitCode::Ok),
                    Err(status) => return status,
                }
                admitted.fetch_add(1, Relaxed);
            }
        }
    });
    wait_until("load", async || admitted.load(Relaxed) > 500).await;
    process.signal(Signal::TERM);
    for status in callers.await.iter() {
        // The connection is gone, and nobody listens any more; or it went while the gateway's library held a call that
        // it had not sent, which it says by other codes.
        let codes = [tonic::Code::Unavailable, tonic::Code::Cancelled, tonic::Code::Unknown];
        let is_gone = codes.contains(&status.code());
        assert!(is_gone, "{status}");
    }
    assert!(process.wait().success());
    let left = service.get("/ratelimit/peek?policy=api&key=k").await.assert(200);
    let taken = 1_000_000 - left["remaining"].as_u64().unwrap();
    assert_eq!(taken, admitted.load(Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_is_answered_after_the_wish_to_stop() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    put(&service, "api", &rules(5)[3]).await.assert(201);
    let rls = Rls::of(&service).await;
    rls.ask(vec![user("api")]).await.unwrap();
    let hanging = server.hang();
    let (gateway, other) = (rls.gateway.clone(), Gateway::to(&rls.address, &service.space));
    let in_flight = tokio::spawn(async move { gateway.ask(vec![user("api")]).await });
    wait_until("the call to be sent", async || !in_flight.is_finished() && is_asked(&server)).await;
    rls.stop.in_order.cancel();
    rls.gate.close();
    // Nothing is accepted any more.
    wait_until("the listener to close", async || {
        other.ask(vec![]).await.is_err_and(|status| status.code() == tonic::Code::Unavailable)
    })
    .await;
    assert!(!rls.serving.is_finished());
    drop(hanging);
    let answer = in_flight.await.unwrap().unwrap();
    assert_eq!((answer.overall_code(), answer.statuses[0].limit_remaining), (LimitCode::Ok, 3));
    wait_until("the end", async || rls.serving.is_finished()).await;
}

/// True once bytes have arrived for a server that hangs, by the receive queues of its connections.
fn is_asked(server: &Server) -> bool {
    let port: u16 = server.url.rsplit(':').next().unwrap().parse().unwrap();
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_server = fields[1].ends_with(&format!(":{port:04X}")) && fields[3] == "01";
        is_server && !fields[4].ends_with(":00000000")
    })
}

/// A call that never ends keeps the service for the drain timeout and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn the_drain_timeout_ends_it() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    let mut short = bounds();
    short.timeouts.drain = Duration::from_millis(50);
    let rls = Rls::with(&service, short).await;
    rls.ask(vec![user("none")]).await.unwrap_err();
    let _hanging = server.hang();
    let gateway = rls.gateway.clone();
    let in_flight = tokio::spawn(async move { gateway.ask(vec![user("api")]).await });
    wait_until("the call to be sent", async || is_asked(&server)).await;
    rls.stop.in_order.cancel();
    rls.gate.close();
    wait_until("the end", async || rls.serving.is_finished()).await;
    assert!(!in_flight.is_finished());
    in_flight.abort();
}

/// While the service leaves, calls work, and balancers that ask for its health are told. A watch ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn health_says_that_it_leaves_and_calls_still_work() {
    let service = Service::new();
    put(&service, "api", &rules(5)[3]).await.assert(201);
    let rls = Rls::of(&service).await;
    let health = HealthClient::new(rls.gateway.channel.clone());
    for name in ["", "envoy.service.ratelimit.v3.RateLimitService"] {
        let request = HealthCheckRequest { service: name.to_owned() };
        let answer = health.clone().check(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
        let mut watch = health.clone().watch(request).await.unwrap().into_inner();
        let first = watch.message().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
    }
    let unknown = HealthCheckRequest { service: "other".to_owned() };
    let refused = health.clone().check(unknown).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);

    let request = HealthCheckRequest::default();
    let mut watch = health.clone().watch(request).await.unwrap().into_inner();
    watch.message().await.unwrap();
    rls.stop.in_order.cancel();
    let next = timeout(Duration::from_secs(20), watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    assert_eq!(rls.ask(vec![user("api")]).await.unwrap().overall_code(), LimitCode::Ok);
    rls.gate.close();
    assert_eq!(timeout(Duration::from_secs(20), watch.message()).await.unwrap().unwrap(), None);
    wait_until("the end", async || rls.serving.is_finished()).await;
}
