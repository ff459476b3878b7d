//! The calls of gateways in the statistics.

use std::collections::BTreeMap;

use super::{Rls, descriptor, user};
use crate::{
    ratelimit::{put, rules},
    support::Service,
};

/// One call is one, under a name of its own, and what it checks is no call of `ratelimit`.
#[tokio::test]
async fn a_call_of_a_gateway_is_counted_once() {
    let service = Service::new();
    let rls = Rls::of(&service).await;
    put(&service, "api", &rules(2)[1]).await.assert(201);
    put(&service, "wide", &rules(9)[1]).await.assert(201);
    service.statistics.take_calls();
    for _ in 0..2 {
        rls.ask(vec![user("api"), user("wide")]).await.unwrap();
    }
    rls.ask(vec![user("api"), user("wide")]).await.unwrap();
    rls.send(rls.request(vec![user("api")], 3)).await.unwrap();
    rls.ask(vec![user("gone")]).await.unwrap_err();
    rls.ask(vec![descriptor(&[])]).await.unwrap_err();

    let calls = service.statistics.take_calls();
    let [(operation, window)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(&**operation, "rls/should_rate_limit");
    assert_eq!((window.count(), window.succeeded, window.failed), (6, 2, 0));
    let refused = [("policy_not_found", 1), ("rate_limited", 2), ("validation_failed", 1)];
    let refused = refused.map(|(code, count)| (code.to_owned(), count));
    assert_eq!(window.refused, BTreeMap::from(refused));
    let failures = service.statistics.take_failures();
    let codes: Vec<_> = failures.iter().map(|failure| (failure.code, failure.status)).collect();
    assert_eq!(
        codes,
        [
            ("rate_limited", 429),
            ("rate_limited", 429),
            ("policy_not_found", 404),
            ("validation_failed", 422)
        ]
    );
    assert!(failures.iter().all(|failure| &*failure.operation == "rls/should_rate_limit"));
    assert!(service.statistics.take_calls().is_empty());
}
