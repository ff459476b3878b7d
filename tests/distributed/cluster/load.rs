//! Load on a cluster: transfers in many spaces, each under a key of its own and sent again until its outcome is
//! known, so that in the end the balances tell whether each happened exactly once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Call, Service};

/// The longest that one transfer may be sent again and again.
const PATIENCE: Duration = Duration::from_secs(60);

/// One caller a space, who moves a cent from alice to bob again and again.
pub struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Caller>,
    count: Arc<AtomicU64>,
}

/// What became of the transfers of one space.
pub struct Caller {
    pub service: Service,
    /// The transfers that were acknowledged, once each.
    pub acknowledged: u64,
    /// The longest time from the first sending of a transfer to its acknowledgement.
    pub longest: Duration,
    /// The answers that were neither, by their code.
    pub refusals: Vec<String>,
}

impl Load {
    /// Opens the accounts of each space and starts its caller.
    pub async fn start(spaces: Vec<Service>) -> Load {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut callers = JoinSet::new();
        for service in spaces {
            for (account, balance) in [("alice", "100000"), ("bob", "0")] {
                let opening = json!({ "account_id": account, "initial_balance": balance });
                until_acknowledged(service.post("/accounts", opening).key(account)).await;
            }
            callers.spawn(transfer_until(service, Arc::clone(&stop), Arc::clone(&count)));
        }
        Load { stop, callers, count }
    }

    /// Waits until so many more transfers have been acknowledged.
    pub async fn wait_for(&self, more: u64) {
        let wanted = self.count.load(Ordering::Relaxed) + more;
        let waiting = async {
            while self.count.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("transfers go on");
    }

    /// Ends the callers, and returns what became of their transfers.
    pub async fn end(self) -> Vec<Caller> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await
    }
}

impl Caller {
    /// Panics unless each transfer happened exactly once. `lost` of those that were acknowledged may be missing:
    /// those that a master had not sent to its replica when it was killed.
    pub async fn check(&self, lost: u64) {
        let cents = |text: &str| text.replace('.', "").parse::<u64>().unwrap();
        let bob = cents(&self.service.balance("bob").await);
        let alice = cents(&self.service.balance("alice").await);
        assert_eq!(alice + bob, 10_000_000, "money is conserved in {}", self.service.space);
        assert!(bob <= self.acknowledged, "{bob} transfers of {}", self.acknowledged);
        assert!(bob + lost >= self.acknowledged, "{bob} transfers of {}", self.acknowledged);
        let sums = self.service.get("/accounts/integrity").await.assert(200);
        assert_eq!(sums["currencies"][0]["ok"], true, "{sums:#}");
    }
}

async fn transfer_until(service: Service, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Caller {
    let (mut longest, mut refusals, mut acknowledged) = (Duration::ZERO, Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let transfer = service.transfer("alice", "bob", "0.01").key(format!("t-{acknowledged}"));
        let started = Instant::now();
        refusals.extend(until_acknowledged(transfer).await);
        longest = longest.max(started.elapsed());
        acknowledged += 1;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Caller { service, acknowledged, longest, refusals }
}

/// Makes a call that has a key until it is answered by 201. Returns the codes of the answers before that.
async fn until_acknowledged(call: Call) -> Vec<String> {
    let (started, mut refusals) = (Instant::now(), Vec::new());
    loop {
        let answer = call.clone().await;
        match answer.status.as_u16() {
            201 => return refusals,
            503 => assert_eq!(answer.body["outcome"], "not_applied", "{:#}", answer.body),
            504 => assert_eq!(answer.body["outcome"], "unknown", "{:#}", answer.body),
            _ => panic!("{:#}", answer.body),
        }
        refusals.push(answer.body["code"].as_str().unwrap().to_owned());
        assert!(started.elapsed() < PATIENCE, "{:#}", answer.body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
