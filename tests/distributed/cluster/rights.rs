//! The rights of the Redis user at the masters of a cluster.

use std::time::Duration;

use lockstep::store::{Access, AdminConnection, CLUSTER_COMMANDS, COMMANDS, StartRefusal};

use crate::support::{Cluster, Server, Service, url_without};

use super::calls::spaces;

/// The rights that the user of a cluster needs beside those of a single server.
const OF_CLUSTERS: [&str; 2] = ["+cluster|slots", "+asking"];

async fn check(url: &str) -> Result<(), StartRefusal> {
    let timeout = Duration::from_secs(20);
    AdminConnection::connect(url, &Access::default(), timeout).await.unwrap().check_server().await
}

/// Gives the user all rights at each master. Returns the URL of the first one.
fn give_all(cluster: &Cluster) -> String {
    let urls = cluster.nodes.iter().map(|node| url_without(node, &[], &OF_CLUSTERS));
    urls.collect::<Vec<_>>().swap_remove(0)
}

/// Takes a right away at a master.
fn take(node: &Server, command: &str) {
    let right = format!("+{}", command.to_lowercase());
    let others: Vec<_> = OF_CLUSTERS.into_iter().filter(|other| *other != right).collect();
    url_without(node, &[&right], &others);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_that_one_master_lacks_is_named_at_the_start() {
    let cluster = Cluster::of_masters(3);
    let url = give_all(&cluster);
    assert_eq!(check(&url).await, Ok(()));
    for (number, command) in COMMANDS.iter().chain(CLUSTER_COMMANDS).enumerate() {
        take(&cluster.nodes[number % 3], command);
        let missing = vec![(*command).to_owned()];
        assert_eq!(check(&url).await, Err(StartRefusal::MissingRights(missing)));
        give_all(&cluster);
    }
    // The slots are asked of one node.
    take(&cluster.nodes[0], "CLUSTER|SLOTS");
    let missing = vec!["CLUSTER|SLOTS".to_owned()];
    assert_eq!(check(&url).await, Err(StartRefusal::MissingRights(missing)));
}

/// A right that is lost while the service runs: a call is done as a whole, or refused and nothing of it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_lost_refuses_calls_and_tears_none() {
    let cluster = Cluster::of_masters(3);
    let all_rights = Service::on_cluster(&cluster);
    let url = give_all(&cluster);
    let service = Service::with(|settings| settings.url.clone_from(&url));
    let spaces = spaces(&service, 6);
    let unrestricted = |space: &Service| {
        let mut same = all_rights.clone();
        same.space.clone_from(&space.space);
        same
    };
    for space in &spaces {
        space.open("alice", "100").await;
        space.open("bob", "0").await;
    }
    let (mut done, mut refused) = (0_u64, 0);
    for command in COMMANDS {
        for node in &cluster.nodes {
            take(node, command);
        }
        for space in &spaces {
            let direct = unrestricted(space);
            let before = direct.balance("bob").await;
            let answer = space.transfer("alice", "bob", "0.01").key(format!("t-{command}")).await;
            match answer.status.as_u16() {
                201 => done += 1,
                _ => {
                    let refusal = answer.expect_problem(503, "store_unavailable");
                    assert_eq!(refusal["outcome"], "not_applied", "{command}: {refusal:#}");
                    assert_eq!(direct.balance("bob").await, before, "{command}");
                    refused += 1;
                }
            }
        }
        give_all(&cluster);
    }
    assert!(done > 0 && refused > 0, "{done} were done and {refused} refused");
    let mut cents = 0;
    for space in &spaces {
        let sums = space.get("/accounts/integrity").await.assert(200);
        assert_eq!(sums["currencies"][0]["ok"], true, "{sums:#}");
        cents += space.balance("bob").await.replace('.', "").parse::<u64>().unwrap();
    }
    assert_eq!(cents, done);
}
