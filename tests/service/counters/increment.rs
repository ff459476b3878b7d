use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use super::{
    MAX_SAFE_INTEGER, assert_rejects_values, changed, expect_refusal, kept_ms, read, set,
    set_with_expiry,
};
use crate::{
    conservation::Numbers,
    support::{HOUR, Process, Service, race},
};

const PATH: &str = "/counters/increment";

#[tokio::test]
async fn a_new_counter_starts_at_zero() {
    let service = Service::new();
    let body = json!({ "counter": "c" });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 0, 1));
    assert_eq!(service.increment("c", 41).await.assert(200), changed("c", 1, 42));
    assert_eq!(read(&service, "c").await, (42, true, false));
    assert_eq!(kept_ms(&service, "c"), -1);
    // A name may look like a number, like a keyword or like a JSON path.
    for name in ["007", "1e3", "true", "null", "0x10", "a:b@c", "value"] {
        assert_eq!(service.increment(name, 1).await.assert(200), changed(name, 0, 1));
    }
}

#[tokio::test]
async fn a_space_has_its_own_counters() {
    let service = Service::new();
    service.increment("c", 5).await.assert(200);
    let other = service.in_new_space();
    assert_eq!(other.increment("c", 1).await.assert(200), changed("c", 0, 1));
}

#[tokio::test]
async fn is_refused_above_the_maximum() {
    let service = Service::new();
    set_with_expiry(&service, "c", 8).await;
    let body = |by: i64| json!({ "counter": "c", "by": by, "max": 10 });
    let answer = expect_refusal(&service, PATH, body(3), 409, "counter_limit_exceeded").await;
    assert_eq!((&answer["value"], &answer["max"]), (&json!(8), &json!(10)));
    assert_eq!(answer["detail"], "The counter c is at 8 and goes up to 10.");
    assert_eq!(service.post(PATH, body(2)).await.assert(200), changed("c", 8, 10));
    expect_refusal(&service, PATH, body(1), 409, "counter_limit_exceeded").await;
    // A refusal does not create a counter.
    let new = json!({ "counter": "new", "by": 2, "max": 1, "ttl_ms": HOUR });
    let answer = expect_refusal(&service, PATH, new, 409, "counter_limit_exceeded").await;
    assert_eq!(answer["value"], 0);
    assert_eq!(read(&service, "new").await, (0, false, false));
    // A limit may be below zero.
    set(&service, "debt", -10).await;
    let body = json!({ "counter": "debt", "by": 5, "max": -6 });
    let answer = expect_refusal(&service, PATH, body, 409, "counter_limit_exceeded").await;
    assert_eq!((&answer["value"], &answer["max"]), (&json!(-10), &json!(-6)));
}

#[tokio::test]
async fn saturating_stops_at_the_maximum() {
    let service = Service::new();
    set(&service, "c", 8).await;
    let body = |max: i64| json!({ "counter": "c", "by": 5, "max": max, "on_bound": "saturate" });
    assert_eq!(service.post(PATH, body(10)).await.assert(200), changed("c", 8, 10));
    let before = service.snapshot();
    for max in [10, 9, 0, -MAX_SAFE_INTEGER] {
        assert_eq!(service.post(PATH, body(max)).await.assert(200), changed("c", 10, 10));
        service.assert_unchanged(&before);
    }
    // A new counter begins within its bound, and exists afterwards even where it begins at the bound.
    let body = |initial: i64| {
        json!({
            "counter": "new", "initial": initial, "max": 5, "on_bound": "saturate", "ttl_ms": HOUR
        })
    };
    let answer = expect_refusal(&service, PATH, body(6), 409, "counter_limit_exceeded").await;
    assert_eq!((&answer["value"], &answer["max"]), (&json!(6), &json!(5)));
    assert_eq!(service.post(PATH, body(5)).await.assert(200), changed("new", 5, 5));
    assert_eq!(read(&service, "new").await, (5, true, true));
    // Without a bound, the range of counters is the bound.
    set(&service, "top", MAX_SAFE_INTEGER - 1).await;
    let body = json!({ "counter": "top", "by": 5, "on_bound": "saturate" });
    let answer = service.post(PATH, body).await.assert(200);
    assert_eq!(answer, changed("top", MAX_SAFE_INTEGER - 1, MAX_SAFE_INTEGER));
}

/// A step that applies nothing does not touch the time to live.
#[tokio::test]
async fn a_saturated_counter_keeps_its_time_to_live() {
    let service = Service::new();
    set_with_expiry(&service, "c", 10).await;
    service.advance_ms(HOUR / 2);
    let before = super::expiries(&service);
    let body = json!({
        "counter": "c", "by": 5, "max": 10, "on_bound": "saturate", "ttl_ms": HOUR, "ttl_mode": "refresh"
    });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 10, 10));
    assert_eq!(super::expiries(&service), before);
    service.advance_ms(HOUR / 2);
    assert_eq!(read(&service, "c").await, (0, false, false));
}

#[tokio::test]
async fn a_new_counter_counts_from_its_initial_value() {
    let service = Service::new();
    let body = |initial: i64| json!({ "counter": "c", "by": 2, "initial": initial });
    assert_eq!(service.post(PATH, body(-5)).await.assert(200), changed("c", -5, -3));
    // `initial` has no effect on a counter that exists.
    assert_eq!(service.post(PATH, body(100)).await.assert(200), changed("c", -3, -1));
    set(&service, "zero", 0).await;
    let body = json!({ "counter": "zero", "initial": 100 });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("zero", 0, 1));
    // The limit holds for the first step too.
    let body = json!({ "counter": "new", "initial": 10, "max": 10 });
    let answer = expect_refusal(&service, PATH, body, 409, "counter_limit_exceeded").await;
    assert_eq!(answer["value"], 10);
}

#[tokio::test]
async fn is_exact_up_to_53_bits() {
    let service = Service::new();
    assert_eq!(set(&service, "c", MAX_SAFE_INTEGER - 1).await["value"], MAX_SAFE_INTEGER - 1);
    let body = json!({ "counter": "c" });
    let answer = service.post(PATH, body.clone()).key("k").await;
    assert_eq!(answer.assert(200), changed("c", MAX_SAFE_INTEGER - 1, MAX_SAFE_INTEGER));
    let again = service.post(PATH, body).key("k").await;
    assert!(again.replayed());
    assert_eq!(again.assert(200), changed("c", MAX_SAFE_INTEGER - 1, MAX_SAFE_INTEGER));
    for by in [1, 2, MAX_SAFE_INTEGER - 1, MAX_SAFE_INTEGER] {
        let body = json!({ "counter": "c", "by": by });
        let answer = expect_refusal(&service, PATH, body, 422, "counter_out_of_range").await;
        assert_eq!(answer["value"], MAX_SAFE_INTEGER);
    }
    assert_eq!(read(&service, "c").await.0, MAX_SAFE_INTEGER);
    // One step covers the whole range, and refusals and their replays have every digit too.
    set(&service, "d", -MAX_SAFE_INTEGER).await;
    let body = json!({ "counter": "d", "by": MAX_SAFE_INTEGER, "max": -1 });
    for _ in 0..2 {
        let answer = service.post(PATH, body.clone()).key("refused").await;
        let answer = answer.expect_problem(409, "counter_limit_exceeded");
        assert_eq!((&answer["value"], &answer["max"]), (&json!(-MAX_SAFE_INTEGER), &json!(-1)));
    }
    assert_eq!(
        service.increment("d", MAX_SAFE_INTEGER).await.assert(200),
        changed("d", -MAX_SAFE_INTEGER, 0)
    );
    let body = json!({
        "counter": "d", "by": MAX_SAFE_INTEGER, "initial": MAX_SAFE_INTEGER, "max": MAX_SAFE_INTEGER, "on_bound": "saturate"
    });
    assert_eq!(
        service.post(PATH, body.clone()).await.assert(200),
        changed("d", 0, MAX_SAFE_INTEGER)
    );
    assert_eq!(service.post(PATH, body).await.assert(200)["applied"], 0);
}

/// A call that is out of range may succeed later, so its idempotency key is not used up.
#[tokio::test]
async fn out_of_range_is_not_recorded_under_the_key() {
    let service = Service::new();
    set(&service, "c", MAX_SAFE_INTEGER).await;
    let body = json!({ "counter": "c" });
    let answer = service.post(PATH, body.clone()).key("k").await;
    answer.expect_problem(422, "counter_out_of_range");
    set(&service, "c", 1).await;
    let answer = service.post(PATH, body).key("k").await;
    assert!(!answer.replayed());
    assert_eq!(answer.assert(200), changed("c", 1, 2));
}

#[tokio::test]
async fn keeps_refreshes_or_gives_a_time_to_live() {
    let service = Service::new();
    let count = async |counter: &str, ttl_ms: Option<i64>, mode: &str| {
        let body = json!({ "counter": counter, "ttl_ms": ttl_ms, "ttl_mode": mode });
        service.post(PATH, body).await.assert(200);
        kept_ms(&service, counter)
    };
    let about = |kept: i64, ms: i64| assert!((ms - 60_000..=ms).contains(&kept), "{kept} {ms}");
    // A new counter gets the time to live in every mode.
    for mode in ["keep", "refresh", "if_none"] {
        about(count(mode, Some(HOUR), mode).await, HOUR);
    }
    service.advance_ms(HOUR / 2);
    about(count("keep", Some(HOUR), "keep").await, HOUR / 2);
    about(count("keep", None, "keep").await, HOUR / 2);
    about(count("refresh", Some(HOUR), "refresh").await, HOUR);
    about(count("if_none", Some(HOUR), "if_none").await, HOUR / 2);
    // A counter without an expiry gets one unless the mode is `keep`.
    for (mode, kept) in [("keep", -1), ("refresh", HOUR), ("if_none", HOUR)] {
        let counter = format!("lasting-{mode}");
        assert_eq!(count(&counter, None, "keep").await, -1);
        match count(&counter, Some(HOUR), mode).await {
            -1 => assert_eq!(kept, -1, "{mode}"),
            answer => about(answer, kept),
        }
    }
    // The new time to live may be shorter than the old one.
    about(count("refresh", Some(HOUR / 4), "refresh").await, HOUR / 4);
}

#[tokio::test]
async fn expires_to_the_millisecond() {
    let service = Service::new();
    set_with_expiry(&service, "c", 10).await;
    service.advance_ms(HOUR - 60_000);
    assert_eq!(read(&service, "c").await, (10, true, true));
    service.advance_ms(60_000);
    assert_eq!(read(&service, "c").await, (0, false, false));
    // Redis still has the record, because its own clock has not moved; the clock of the script decides.
    assert!(kept_ms(&service, "c") > 0);
    let body = json!({ "counter": "c", "initial": 4, "max": 5 });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 4, 5));
    assert_eq!(read(&service, "c").await, (5, true, false), "the old end is forgotten");
    assert_eq!(kept_ms(&service, "c"), -1);
}

#[tokio::test]
async fn refuses_invalid_input() {
    let service = Service::new();
    set_with_expiry(&service, "c", 5).await;
    let good = json!({ "counter": "c", "by": 1 });
    let mut bad = vec![
        ("/by", json!(0), "validation_failed"),
        ("/by", json!(-1), "validation_failed"),
        ("/by", json!(-MAX_SAFE_INTEGER), "validation_failed"),
        ("/by", json!(1.5), "validation_failed"),
        ("/by", json!(1.0), "validation_failed"),
        ("/by", json!(1e300), "validation_failed"),
        ("/by", json!("1"), "validation_failed"),
        ("/by", json!([1]), "validation_failed"),
        ("/by", Value::Null, "validation_failed"),
        ("/by", json!(1_i64 << 53), "counter_out_of_range"),
        ("/by", json!(i64::MIN), "counter_out_of_range"),
        ("/by", json!(u64::MAX), "validation_failed"),
        ("/max", json!(1_i64 << 53), "counter_out_of_range"),
        ("/max", json!("10"), "validation_failed"),
        ("/initial", json!(-(1_i64 << 53)), "counter_out_of_range"),
        ("/initial", json!("0"), "validation_failed"),
        ("/ttl_ms", json!(0), "validation_failed"),
        ("/ttl_ms", json!(-1), "validation_failed"),
        ("/ttl_ms", json!(2_592_000_001_u64), "validation_failed"),
        ("/ttl_ms", json!("1"), "validation_failed"),
        ("/ttl_mode", json!("never"), "validation_failed"),
        ("/ttl_mode", json!("Keep"), "validation_failed"),
        ("/on_bound", json!("wrap"), "validation_failed"),
        ("/min", json!(0), "unknown_field"),
        ("/value", json!(1), "unknown_field"),
        ("/counter", json!("a/b"), "invalid_id"),
        ("/counter", json!("{c}"), "invalid_id"),
        ("/counter", json!(7), "validation_failed"),
    ];
    for reserved in ["increment", "decrement", "set", "reset", "batch"] {
        bad.push(("/counter", json!(reserved), "invalid_id"));
    }
    assert_rejects_values(&service, PATH, &good, &bad).await;
    for mode in ["refresh", "if_none"] {
        let body = json!({ "counter": "c", "ttl_mode": mode });
        let answer = expect_refusal(&service, PATH, body, 422, "validation_failed").await;
        assert_eq!(answer["errors"][0]["pointer"], "/ttl_ms");
    }
    let answer = expect_refusal(&service, PATH, json!({}), 422, "validation_failed").await;
    assert_eq!(answer["errors"][0]["pointer"], "/counter");
    // A null field is the same as a missing one.
    let body = json!({ "counter": "c", "max": null, "ttl_ms": null });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 5, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_give_out_each_coupon_once() {
    let service = Service::new();
    let other = Arc::new(Process::shared());
    let tasks = race(64, |task| {
        let (service, other) = (service.clone(), other.clone());
        async move {
            let body = json!({ "counter": "coupon", "max": 100 });
            let mut taken = Vec::new();
            for round in 0..5 {
                let answer = if task % 2 == 0 {
                    service.post(PATH, body.clone()).await
                } else {
                    let key = format!("{task}-{round}");
                    other.post(&service.space, PATH, &body, &key).await.unwrap()
                };
                match answer.status.as_u16() {
                    200 => taken.push(answer.body["value"].as_i64().unwrap()),
                    _ => assert_eq!(
                        answer.expect_problem(409, "counter_limit_exceeded")["value"],
                        100,
                        "nobody is refused before all are gone"
                    ),
                }
            }
            taken
        }
    });
    let mut taken: Vec<i64> = tasks.await.into_iter().flatten().collect();
    taken.sort_unstable();
    // Each number was given out once.
    assert_eq!(taken, (1..=100).collect::<Vec<_>>());
    assert_eq!(service.counter("coupon").await, 100);
}

/// Callers step up and down at random between two bounds, rejecting and saturating, while another one
/// reads: the applied steps add up, and no read is outside of the bounds.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_steps_add_up_within_the_bounds() {
    let service = Service::new();
    set(&service, "c", 25).await;
    let done = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn({
        let (service, done) = (service.clone(), done.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                let value = service.counter("c").await;
                assert!((0..=50).contains(&value), "{value}");
            }
        }
    });
    let tasks = race(64, |task| {
        let service = service.clone();
        async move {
            let (mut numbers, mut applied) = (Numbers::of(task as u64), 0);
            for _ in 0..40 {
                let up = numbers.below(2) == 0;
                let by = 1 + numbers.below(9);
                let on_bound = ["reject", "saturate"][numbers.below(2) as usize];
                let mut body = json!({ "counter": "c", "by": by, "on_bound": on_bound });
                let (path, bound, word) = if up {
                    (PATH, "max", "counter_limit_exceeded")
                } else {
                    ("/counters/decrement", "min", "counter_below_minimum")
                };
                body[bound] = if up { 50 } else { 0 }.into();
                let answer = service.post(path, body).await;
                if answer.status.as_u16() == 409 {
                    assert_eq!(on_bound, "reject");
                    answer.expect_problem(409, word);
                    continue;
                }
                let found = answer.assert(200);
                let step = found["applied"].as_i64().unwrap();
                let wanted = if up { by as i64 } else { -(by as i64) };
                assert!(
                    step == wanted
                        || on_bound == "saturate"
                            && step.abs() < wanted.abs()
                            && step * wanted >= 0,
                    "{found:#}"
                );
                applied += step;
            }
            applied
        }
    });
    let applied: i64 = tasks.await.into_iter().sum();
    done.store(true, Ordering::Relaxed);
    looking.await.unwrap();
    assert_eq!(service.counter("c").await, 25 + applied);
}
