use std::sync::Arc;

use lockstep::rls::messages::LimitCode;

use super::{Answer, Gateway, Rls, user};
use crate::{
    ratelimit::{put, rules},
    support::{Process, Service, free_port, race, redis_url},
};

/// The number of answers with a code; every answer has one.
fn count(answers: &[Answer], code: LimitCode) -> usize {
    let code_of = |answer: &Answer| answer.as_ref().unwrap().overall_code();
    answers.iter().filter(|answer| code_of(answer) == code).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_calls_are_admitted_exactly_up_to_the_limit() {
    let service = Service::new();
    let rls = Arc::new(Rls::of(&service).await);
    for (index, rule) in rules(50).iter().enumerate() {
        let policy = format!("p{index}");
        put(&service, &policy, rule).await.assert(201);
        let answers = race(200, |_| {
            let (rls, policy) = (rls.clone(), policy.clone());
            async move { rls.ask(vec![user(&policy)]).await }
        })
        .await;
        assert_eq!(
            (count(&answers, LimitCode::Ok), count(&answers, LimitCode::OverLimit)),
            (50, 150),
            "{rule}"
        );
    }
}

/// The narrower of two limits decides, and the wider one is charged for what was admitted only.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_calls_take_of_both_limits_or_of_none() {
    let service = Service::new();
    let rls = Arc::new(Rls::of(&service).await);
    put(&service, "wide", &rules(100)[0]).await.assert(201);
    put(&service, "narrow", &rules(30)[2]).await.assert(201);
    let answers = race(120, |_| {
        let rls = rls.clone();
        async move { rls.ask(vec![user("wide"), user("narrow")]).await }
    })
    .await;
    assert_eq!((count(&answers, LimitCode::Ok), count(&answers, LimitCode::OverLimit)), (30, 90));
    let left = service.get("/ratelimit/peek?policy=wide&key=k").await.assert(200);
    assert_eq!(left["remaining"], 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_with_64_tasks_each_admit_exactly_the_limit() {
    let service = Service::new();
    let start = |_| {
        let address = format!("127.0.0.1:{}", free_port());
        let process = Process::start(&["--redis-url", redis_url(), "--rls-listen", &address]);
        (process, Gateway::to(&address, &service.space))
    };
    let instances = [0, 1, 2, 3].map(start);
    for (index, rule) in rules(500).iter().enumerate() {
        let policy = format!("p{index}");
        put(&service, &policy, rule).await.assert(201);
        let answers = race(4 * 64, |task| {
            let (gateway, policy) = (instances[task % 4].1.clone(), policy.clone());
            async move {
                let mut answers = Vec::new();
                for _ in 0..5 {
                    answers.push(gateway.ask(vec![user(&policy)]).await);
                }
                answers
            }
        })
        .await;
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        assert_eq!(
            (count(&answers, LimitCode::Ok), count(&answers, LimitCode::OverLimit)),
            (500, 780),
            "{rule}"
        );
    }
}
