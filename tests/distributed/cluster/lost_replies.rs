//! Replies of the masters that are lost under load.
//!
//! `LOCKSTEP_TEST_LOST_REPLIES` is the least number of them; 300 by default.

use crate::support::{Cluster, LossyProxy, Service, free_port};

use super::{calls::spaces, load::Load};

fn wanted() -> u64 {
    std::env::var("LOCKSTEP_TEST_LOST_REPLIES").map_or(300, |wanted| wanted.parse().unwrap())
}

/// The service reaches every master through a proxy, because the masters announce the ports of the proxies. A connection
/// carries a few replies and loses the next one; in the end every acknowledged transfer has happened once, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_found_again_and_nothing_is_done_twice() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let mut proxies = Vec::new();
    for (place, port) in ports.iter().enumerate() {
        proxies.push(LossyProxy::start(format!("127.0.0.1:{port}"), place + 1).await);
    }
    let announced: Vec<_> = ports.iter().copied().zip(proxies.iter().map(|it| it.port)).collect();
    let cluster = Cluster::announcing(&announced);
    let service = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{}", proxies[0].port);
        settings.batch_workers = 1;
    });
    let load = Load::start(spaces(&service, 24)).await;
    let lost = || proxies.iter().map(LossyProxy::lost).sum::<u64>();
    while lost() < wanted() {
        load.wait_for(40).await;
    }
    let callers = load.end().await;
    let transfers: u64 = callers.iter().map(|caller| caller.acknowledged).sum();
    println!("{} replies were lost, {transfers} transfers were acknowledged", lost());
    for caller in callers {
        caller.check(0).await;
    }
    drop(cluster);
}
