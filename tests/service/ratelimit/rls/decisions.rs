use std::time::Duration;

use lockstep::{
    ratelimit::{HeaderForm, follow_policies},
    rls::{
        Bounds,
        messages::{
            DescriptorEntry, LimitCode, RateLimitDescriptor, RateLimitOverride, RateLimitRequest,
            Unit,
        },
    },
};
use serde_json::json;

use super::{Rls, bounds, codes, descriptor, header, user};
use crate::{
    ratelimit::{
        DAY, check,
        on_store_error::{learn, rule},
        put, rules,
    },
    support::{Server, Service, free_port},
};

#[tokio::test]
async fn admits_up_to_the_limit_and_tells_its_state() {
    let service = Service::new();
    let rls = Rls::of(&service).await;
    let rule = json!({ "algorithm": "sliding_window", "limit": 2, "window_ms": DAY });
    put(&service, "api", &rule).await.assert(201);
    for remaining in [1, 0] {
        let answer = rls.ask(vec![user("api")]).await.unwrap();
        assert_eq!((answer.overall_code(), codes(&answer)), (LimitCode::Ok, vec![LimitCode::Ok]));
        let status = &answer.statuses[0];
        let limit = status.current_limit.as_ref().unwrap();
        assert_eq!((limit.name.as_str(), limit.requests_per_unit), ("api", 2));
        assert_eq!((limit.unit(), status.limit_remaining), (Unit::Day, remaining));
        assert!((86_390..=86_400).contains(&status.duration_until_reset.unwrap().seconds));
        assert_eq!(header(&answer, "ratelimit-policy"), Some("\"api\";q=2;w=86400"));
        assert_eq!(header(&answer, "retry-after"), None);
    }
    let before = service.snapshot();
    let denied = rls.ask(vec![user("api")]).await.unwrap();
    assert_eq!(
        (denied.overall_code(), codes(&denied)),
        (LimitCode::OverLimit, vec![LimitCode::OverLimit])
    );
    service.assert_unchanged(&before);
    // The header, the status and Retry-After name one moment.
    let seconds = denied.statuses[0].duration_until_reset.unwrap().seconds;
    assert_eq!(header(&denied, "retry-after"), Some(seconds.to_string().as_str()));
    let state = format!("\"api\";r=0;t={seconds}");
    assert_eq!(header(&denied, "ratelimit"), Some(state.as_str()));
    // Waiting that long is enough.
    service.advance_ms(seconds * 1000);
    assert_eq!(rls.ask(vec![user("api")]).await.unwrap().overall_code(), LimitCode::Ok);
}

/// What a gateway checks is the limit that HTTP knows by the same policy and key.
#[tokio::test]
async fn shares_its_limits_with_http() {
    let service = Service::new();
    let rls = Rls::of(&service).await;
    for (index, rule) in rules(5).iter().enumerate() {
        let policy = format!("p{index}");
        put(&service, &policy, rule).await.assert(201);
        rls.send(rls.request(vec![user(&policy)], 3)).await.unwrap();
        assert_eq!(check(&service, &policy, 1).await.assert(200)["remaining"], 1, "{rule}");
        let answer = rls.ask(vec![user(&policy)]).await.unwrap();
        assert_eq!(answer.statuses[0].limit_remaining, 0, "{rule}");
        assert_eq!(
            rls.ask(vec![user(&policy)]).await.unwrap().overall_code(),
            LimitCode::OverLimit
        );
        check(&service, &policy, 1).await.expect_problem(429, "rate_limited");
    }
    let key = json!({ "policy": "api", "key": "*" });
    put(&service, "api", &rules(1)[3]).await.assert(201);
    rls.ask(vec![descriptor(&[("generic_key", "api")])]).await.unwrap();
    service.post("/ratelimit", key).await.expect_problem(429, "rate_limited");
}

#[tokio::test]
async fn takes_of_all_descriptors_or_of_none() {
    let service = Service::new();
    let rls = Rls::of(&service).await;
    for (policy, limit) in [("wide", 10), ("narrow", 2), ("tiny", 1)] {
        put(&service, policy, &rules(limit)[3]).await.assert(201);
    }
    let all = || vec![user("wide"), user("narrow"), user("tiny")];
    let answer = rls.ask(all()).await.unwrap();
    assert_eq!(codes(&answer), [LimitCode::Ok; 3]);
    let remaining: Vec<u32> = answer.statuses.iter().map(|status| status.limit_remaining).collect();
    assert_eq!(remaining, [9, 1, 0]);
    let state = header(&answer, "ratelimit").unwrap();
    assert_eq!(state.matches(";r=").count(), 3, "{state}");

    let before = service.snapshot();
    let denied = rls.ask(all()).await.unwrap();
    assert_eq!(denied.overall_code(), LimitCode::OverLimit);
    assert_eq!(codes(&denied), [LimitCode::Ok, LimitCode::Ok, LimitCode::OverLimit]);
    // What a denial did not ask about is not told.
    let known: Vec<bool> =
        denied.statuses.iter().map(|status| status.current_limit.is_some()).collect();
    assert_eq!(known, [false, false, true]);
    let state = header(&denied, "ratelimit").unwrap();
    assert!(state.starts_with("\"tiny\";r=0;t=") && !state.contains(','), "{state}");
    service.assert_unchanged(&before);
    // Two of one limit count together.
    let answer = rls.ask(vec![user("narrow"), user("narrow")]).await.unwrap();
    assert_eq!(codes(&answer), [LimitCode::Ok, LimitCode::OverLimit]);
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn takes_the_hits_of_the_request_or_of_the_descriptor() {
    let service = Service::new();
    let rls = Rls::of(&service).await;
    put(&service, "api", &rules(20)[0]).await.assert(201);
    let with = |hits: u64| RateLimitDescriptor { hits_addend: Some(hits), ..user("api") };
    for (descriptor, hits, remaining) in
        [(user("api"), 0, 19), (user("api"), 4, 15), (with(6), 4, 9), (with(0), 4, 8)]
    {
        let answer = rls.send(rls.request(vec![descriptor], hits)).await.unwrap();
        assert_eq!(answer.statuses[0].limit_remaining, remaining);
    }
    // More than there will ever be is over the limit and no error, which would let the request pass.
    let before = service.snapshot();
    put(&service, "small", &rules(5)[3]).await.assert(201);
    let policies = service.snapshot();
    assert_ne!(before, policies);
    for hits in [21, u64::MAX] {
        let over = rls.ask(vec![with(hits)]).await.unwrap();
        assert_eq!(
            (over.overall_code(), codes(&over)),
            (LimitCode::OverLimit, vec![LimitCode::OverLimit])
        );
        let limit = over.statuses[0].current_limit.as_ref().unwrap();
        assert_eq!((limit.name.as_str(), limit.requests_per_unit), ("api", 20));
    }
    let over = rls.send(rls.request(vec![user("api"), user("small")], 6)).await.unwrap();
    assert_eq!(codes(&over), [LimitCode::Ok, LimitCode::OverLimit]);
    service.assert_unchanged(&policies);
}

/// The configuration of the gateway is wrong, which is an error of its own and no decision.
#[tokio::test]
async fn refuses_a_policy_that_does_not_exist() {
    let service = Service::new();
    let rls = Rls::of(&service).await;
    put(&service, "api", &rules(5)[1]).await.assert(201);
    let before = service.snapshot();
    for descriptors in [vec![user("gone")], vec![user("api"), user("gone")]] {
        let refused = rls.ask(descriptors).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::NotFound);
        assert_eq!(refused.message(), "policy_not_found: There is no policy gone.");
        // The log tells of the call under this id.
        assert_eq!(refused.metadata().get("x-request-id").unwrap().len(), 36);
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_what_names_no_limit_with_its_place() {
    let service = Service::new();
    let rls = Rls::of(&service).await;
    let request = |descriptors: Vec<RateLimitDescriptor>| rls.request(descriptors, 1);
    let own_limit = RateLimitDescriptor { limit: Some(RateLimitOverride {}), ..user("api") };
    let refund = RateLimitDescriptor { is_negative_hits: true, ..user("api") };
    let cases = [
        (RateLimitRequest { domain: String::new(), ..request(vec![user("api")]) }, "/domain"),
        (RateLimitRequest { domain: "a b".to_owned(), ..request(vec![user("api")]) }, "/domain"),
        (request(vec![]), "/descriptors"),
        (request(vec![user("api"); 33]), "/descriptors"),
        (request(vec![user("api"), descriptor(&[])]), "/descriptors/1/entries"),
        (request(vec![user("a/b")]), "/descriptors/0/entries/0/value"),
        (request(vec![descriptor(&[("a b", "x")])]), "/descriptors/0/entries/0/key"),
        (request(vec![own_limit]), "/descriptors/0/limit"),
        (request(vec![refund]), "/descriptors/0/is_negative_hits"),
    ];
    for (request, place) in cases {
        let refused = rls.send(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(&format!(": At {place}: ")), "{refused}");
        assert!(refused.message().ends_with('.'), "{refused}");
    }
    assert!(service.snapshot().is_empty());
}

/// A caller must not get around its limit by a header that is no text, too long, or empty.
#[tokio::test]
async fn limits_values_that_are_no_keys() {
    let service = Service::new();
    let rls = Rls::of(&service).await;
    put(&service, "user", &rules(1)[3]).await.assert(201);
    for value in [&b""[..], b"\xff\xfe", b"a\0b", &[b'x'; 5000]] {
        let entry = DescriptorEntry { key: "user".to_owned(), value: value.to_vec() };
        let asked = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
        let first = rls.ask(vec![asked.clone()]).await.unwrap();
        assert_eq!(first.overall_code(), LimitCode::Ok);
        assert_eq!(rls.ask(vec![asked]).await.unwrap().overall_code(), LimitCode::OverLimit);
    }
}

#[tokio::test]
async fn a_shadow_policy_denies_nothing() {
    let service = Service::new();
    let rls = Rls::of(&service).await;
    let mut rule = rules(1)[1].clone();
    rule["shadow"] = true.into();
    put(&service, "shadow", &rule).await.assert(201);
    put(&service, "api", &rules(3)[1]).await.assert(201);
    for remaining in [2, 1, 0] {
        let answer = rls.ask(vec![user("shadow"), user("api")]).await.unwrap();
        assert_eq!(
            (answer.overall_code(), codes(&answer)),
            (LimitCode::Ok, vec![LimitCode::Ok; 2])
        );
        assert_eq!(answer.statuses[1].limit_remaining, remaining);
    }
    // Not even a cost that no waiting makes room for.
    let dear = rls.request(vec![user("shadow")], 2);
    assert_eq!(rls.send(dear).await.unwrap().overall_code(), LimitCode::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_a_store_that_is_away_from_one_that_does_not_answer() {
    let away = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{}", free_port());
        settings.timeout = Duration::from_millis(200);
    });
    let rls = Rls::of(&away).await;
    let failed = rls.ask(vec![user("api")]).await.unwrap_err();
    assert_eq!(failed.code(), tonic::Code::Unavailable, "{failed}");
    assert!(failed.message().starts_with("store_unavailable: "), "{failed}");

    let server = Server::of_this_run();
    let silent = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.timeout = Duration::from_millis(200);
        // One connection, which is there before the server falls silent.
        settings.batch_workers = 1;
    });
    let rls = Rls::of(&silent).await;
    put(&silent, "api", &rules(5)[3]).await.assert(201);
    let hanging = server.hang();
    let failed = rls.ask(vec![user("api")]).await.unwrap_err();
    assert_eq!(failed.code(), tonic::Code::DeadlineExceeded, "{failed}");
    assert!(failed.message().starts_with("outcome_unknown: "), "{failed}");
    drop(hanging);
}

/// What is decided without the store is what HTTP is told too, and nothing is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_says_what_to_answer_while_the_store_is_away() {
    let server = Server::of_this_run();
    let service = Service::with(|settings| {
        settings.url.clone_from(&server.url);
        settings.timeout = Duration::from_millis(400);
    });
    tokio::spawn(follow_policies(service.store.clone()));
    for name in ["allow", "deny"] {
        put(&service, name, &rule(name, false)).await.assert(201);
        learn(&service, name).await;
    }
    let rls = Rls::of(&service).await;
    let hanging = server.hang();
    let allowed = rls.ask(vec![user("allow")]).await.unwrap();
    assert_eq!(allowed.overall_code(), LimitCode::Ok);
    let status = &allowed.statuses[0];
    assert_eq!(status.current_limit.as_ref().unwrap().requests_per_unit, 5);
    assert_eq!((status.limit_remaining, status.duration_until_reset), (0, None));
    let denied = rls.ask(vec![user("deny")]).await.unwrap();
    assert_eq!(denied.overall_code(), LimitCode::OverLimit);
    assert_eq!(header(&denied, "retry-after"), Some("1"));
    let both = rls.ask(vec![user("allow"), user("deny")]).await.unwrap();
    assert_eq!(codes(&both), [LimitCode::Ok, LimitCode::OverLimit]);
    drop(hanging);
}

#[tokio::test]
async fn headers_have_the_form_that_is_set() {
    let service = Service::new();
    put(&service, "api", &rules(1)[3]).await.assert(201);
    for (form, names) in [
        (
            HeaderForm::Legacy,
            &["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"][..],
        ),
        (HeaderForm::Off, &[]),
    ] {
        let rls = Rls::with(&service, Bounds { limit_headers: form, ..bounds() }).await;
        rls.ask(vec![user("api")]).await.unwrap();
        let denied = rls.ask(vec![user("api")]).await.unwrap();
        let mut told: Vec<&str> =
            denied.response_headers_to_add.iter().map(|header| header.key.as_str()).collect();
        assert_eq!(told.pop(), Some("retry-after"));
        told.sort_unstable();
        assert_eq!(told, names);
    }
}
