//! Connections between the service and the masters that break under load, so that replies are lost.

use crate::support::{Cluster, Relay, Service, free_port};

use super::{calls::spaces, load::Load};

/// The service reaches every master through a relay, because the masters announce the ports of the relays.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_found_again_and_nothing_is_done_twice() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let mut relays = Vec::new();
    for port in &ports {
        relays.push(Relay::to_port(*port).await);
    }
    let announced: Vec<_> = ports.iter().copied().zip(relays.iter().map(Relay::port)).collect();
    let cluster = Cluster::announcing(&announced);
    let service = Service::with(|settings| {
        settings.url.clone_from(&relays[0].url);
        settings.batch_workers = 1;
    });
    let load = Load::start(spaces(&service, 24)).await;
    for round in 0..30 {
        load.wait_for(40).await;
        relays[round % 3].cut().await;
    }
    for caller in load.end().await {
        caller.check(0).await;
    }
    drop(cluster);
}
