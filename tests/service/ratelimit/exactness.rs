//! Four processes with 64 tasks each on one key: exactly the limit is admitted, whichever of them asks the store and whichever
//! denies by what it remembers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::rules;
use crate::support::{Process, race, unique};

const PROCESSES: usize = 4;
const TASKS: usize = 64;
const CALLS: usize = 4;
const LIMIT: u64 = 150;

/// Makes the same call from all tasks of all processes, a few times each, and returns how many were allowed, and
/// how many of the denials the processes have decided themselves.
async fn hammer(
    processes: &Arc<[Process; PROCESSES]>,
    path: &'static str,
    body: Value,
) -> (usize, usize) {
    let space = unique("exact-");
    let answers = race(PROCESSES * TASKS, |task| {
        let (processes, space, body) = (Arc::clone(processes), space.clone(), body.clone());
        async move {
            let process = &processes[task % PROCESSES];
            let mut answers = Vec::with_capacity(CALLS);
            for _ in 0..CALLS {
                answers.push(process.post_once(&space, path, &body).await.unwrap());
            }
            answers
        }
    })
    .await;
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    assert_eq!(answers.len(), PROCESSES * TASKS * CALLS);
    let count =
        |status: u16| answers.iter().filter(|answer| answer.status.as_u16() == status).count();
    assert_eq!(count(200) + count(429), answers.len());
    let local = answers.iter().filter(|answer| answer.body["decided_by"] == "local").count();
    (count(200), local)
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_limit_passes_through_four_processes() {
    let processes = Arc::new([(); PROCESSES].map(|()| Process::shared()));
    for rule in rules(LIMIT) {
        let mut check = rule.clone();
        check["key"] = "k".into();
        let (allowed, local) = hammer(&processes, "/ratelimit", check).await;
        assert_eq!(allowed as u64, LIMIT, "{rule}");
        assert_eq!(local > 0, rule["algorithm"] != "concurrency", "{rule}");
    }
}

/// The tightest of three limits decides, and the other two lose nothing to what it denies.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_tightest_limit_passes_through_check_all() {
    let processes = Arc::new([(); PROCESSES].map(|()| Process::shared()));
    for rule in rules(LIMIT) {
        let one = |rule: &Value, key: &str| {
            let mut check = rule.clone();
            check["key"] = key.into();
            check
        };
        let [wide, ..] = rules(10 * LIMIT);
        let checks = json!([one(&wide, "a"), one(&rule, "b"), one(&wide, "c")]);
        let body = json!({ "checks": checks });
        let (allowed, local) = hammer(&processes, "/ratelimit/check-all", body).await;
        assert_eq!((allowed as u64, local), (LIMIT, 0), "{rule}");
    }
}
