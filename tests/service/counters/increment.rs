use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use super::{MAX_SAFE_INTEGER, changed, ending, kept_ms, refused, refuses_values, seen, set};
use crate::{
    conservation::Numbers,
    support::{HOUR, Process, Service, race},
};

const PATH: &str = "/counters/increment";

#[tokio::test]
async fn counts_up_from_zero_without_a_declaration() {
    let service = Service::new();
    let body = json!({ "counter": "c" });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 0, 1));
    assert_eq!(service.increment("c", 41).await.assert(200), changed("c", 1, 42));
    assert_eq!(seen(&service, "c").await, (42, true, false));
    assert_eq!(kept_ms(&service, "c"), -1);
    // What looks like a number, a word or a path of JSON is a name like any other.
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
async fn goes_up_to_its_limit_and_not_past_it() {
    let service = Service::new();
    ending(&service, "c", 8).await;
    let body = |by: i64| json!({ "counter": "c", "by": by, "max": 10 });
    let told = refused(&service, PATH, body(3), 409, "counter_limit_exceeded").await;
    assert_eq!((&told["value"], &told["max"]), (&json!(8), &json!(10)));
    assert_eq!(told["detail"], "The counter c is at 8 and goes up to 10.");
    assert_eq!(service.post(PATH, body(2)).await.assert(200), changed("c", 8, 10));
    refused(&service, PATH, body(1), 409, "counter_limit_exceeded").await;
    // A refusal of a counter that nobody has touched leaves none behind.
    let new = json!({ "counter": "new", "by": 2, "max": 1, "ttl_ms": HOUR });
    let told = refused(&service, PATH, new, 409, "counter_limit_exceeded").await;
    assert_eq!(told["value"], 0);
    assert_eq!(seen(&service, "new").await, (0, false, false));
    // Limits below zero are limits.
    set(&service, "debt", -10).await;
    let body = json!({ "counter": "debt", "by": 5, "max": -6 });
    let told = refused(&service, PATH, body, 409, "counter_limit_exceeded").await;
    assert_eq!((&told["value"], &told["max"]), (&json!(-10), &json!(-6)));
}

#[tokio::test]
async fn saturating_goes_as_far_as_the_limit_and_never_back() {
    let service = Service::new();
    set(&service, "c", 8).await;
    let body = |max: i64| json!({ "counter": "c", "by": 5, "max": max, "on_bound": "saturate" });
    assert_eq!(service.post(PATH, body(10)).await.assert(200), changed("c", 8, 10));
    let before = service.snapshot();
    for max in [10, 9, 0, -MAX_SAFE_INTEGER] {
        assert_eq!(service.post(PATH, body(max)).await.assert(200), changed("c", 10, 10));
        service.assert_unchanged(&before);
    }
    // One that is not there begins within its bound, and at it, it is there from now on.
    let body = |initial: i64| {
        json!({
            "counter": "new", "initial": initial, "max": 5, "on_bound": "saturate", "ttl_ms": HOUR
        })
    };
    let told = refused(&service, PATH, body(6), 409, "counter_limit_exceeded").await;
    assert_eq!((&told["value"], &told["max"]), (&json!(6), &json!(5)));
    assert_eq!(service.post(PATH, body(5)).await.assert(200), changed("new", 5, 5));
    assert_eq!(seen(&service, "new").await, (5, true, true));
    // Without a bound it goes as far as counters go.
    set(&service, "top", MAX_SAFE_INTEGER - 1).await;
    let body = json!({ "counter": "top", "by": 5, "on_bound": "saturate" });
    let told = service.post(PATH, body).await.assert(200);
    assert_eq!(told, changed("top", MAX_SAFE_INTEGER - 1, MAX_SAFE_INTEGER));
}

/// What has applied nothing has not touched the time to live either.
#[tokio::test]
async fn saturated_it_keeps_its_time_to_live() {
    let service = Service::new();
    ending(&service, "c", 10).await;
    service.advance_ms(HOUR / 2);
    let before = super::ends(&service);
    let body = json!({
        "counter": "c", "by": 5, "max": 10, "on_bound": "saturate", "ttl_ms": HOUR, "ttl_mode": "refresh"
    });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 10, 10));
    assert_eq!(super::ends(&service), before);
    service.advance_ms(HOUR / 2);
    assert_eq!(seen(&service, "c").await, (0, false, false));
}

#[tokio::test]
async fn a_new_counter_counts_from_its_initial_value() {
    let service = Service::new();
    let body = |initial: i64| json!({ "counter": "c", "by": 2, "initial": initial });
    assert_eq!(service.post(PATH, body(-5)).await.assert(200), changed("c", -5, -3));
    // One that is there does not begin again.
    assert_eq!(service.post(PATH, body(100)).await.assert(200), changed("c", -3, -1));
    set(&service, "zero", 0).await;
    let body = json!({ "counter": "zero", "initial": 100 });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("zero", 0, 1));
    // The limit holds for the first step as for every other.
    let body = json!({ "counter": "new", "initial": 10, "max": 10 });
    let told = refused(&service, PATH, body, 409, "counter_limit_exceeded").await;
    assert_eq!(told["value"], 10);
}

#[tokio::test]
async fn is_exact_as_far_as_it_goes() {
    let service = Service::new();
    assert_eq!(set(&service, "c", MAX_SAFE_INTEGER - 1).await["value"], MAX_SAFE_INTEGER - 1);
    let body = json!({ "counter": "c" });
    let told = service.post(PATH, body.clone()).key("k").await;
    assert_eq!(told.assert(200), changed("c", MAX_SAFE_INTEGER - 1, MAX_SAFE_INTEGER));
    let again = service.post(PATH, body).key("k").await;
    assert!(again.replayed());
    assert_eq!(again.assert(200), changed("c", MAX_SAFE_INTEGER - 1, MAX_SAFE_INTEGER));
    for by in [1, 2, MAX_SAFE_INTEGER - 1, MAX_SAFE_INTEGER] {
        let body = json!({ "counter": "c", "by": by });
        let told = refused(&service, PATH, body, 422, "counter_out_of_range").await;
        assert_eq!(told["value"], MAX_SAFE_INTEGER);
    }
    assert_eq!(seen(&service, "c").await.0, MAX_SAFE_INTEGER);
    // The whole way up at once, and the refusals and their replays have every digit too.
    set(&service, "d", -MAX_SAFE_INTEGER).await;
    let body = json!({ "counter": "d", "by": MAX_SAFE_INTEGER, "max": -1 });
    for _ in 0..2 {
        let told = service.post(PATH, body.clone()).key("refused").await;
        let told = told.expect_problem(409, "counter_limit_exceeded");
        assert_eq!((&told["value"], &told["max"]), (&json!(-MAX_SAFE_INTEGER), &json!(-1)));
    }
    assert_eq!(service.increment("d", MAX_SAFE_INTEGER).await.assert(200), changed("d", -MAX_SAFE_INTEGER, 0));
    let body = json!({
        "counter": "d", "by": MAX_SAFE_INTEGER, "initial": MAX_SAFE_INTEGER, "max": MAX_SAFE_INTEGER, "on_bound": "saturate"
    });
    assert_eq!(service.post(PATH, body.clone()).await.assert(200), changed("d", 0, MAX_SAFE_INTEGER));
    assert_eq!(service.post(PATH, body).await.assert(200)["applied"], 0);
}

/// Who is out of range today may not be tomorrow, so the key is free to be used again.
#[tokio::test]
async fn out_of_range_is_not_remembered() {
    let service = Service::new();
    set(&service, "c", MAX_SAFE_INTEGER).await;
    let body = json!({ "counter": "c" });
    let told = service.post(PATH, body.clone()).key("k").await;
    told.expect_problem(422, "counter_out_of_range");
    set(&service, "c", 1).await;
    let told = service.post(PATH, body).key("k").await;
    assert!(!told.replayed());
    assert_eq!(told.assert(200), changed("c", 1, 2));
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
    // New counters are given it, whatever the mode.
    for mode in ["keep", "refresh", "if_none"] {
        about(count(mode, Some(HOUR), mode).await, HOUR);
    }
    service.advance_ms(HOUR / 2);
    about(count("keep", Some(HOUR), "keep").await, HOUR / 2);
    about(count("keep", None, "keep").await, HOUR / 2);
    about(count("refresh", Some(HOUR), "refresh").await, HOUR);
    about(count("if_none", Some(HOUR), "if_none").await, HOUR / 2);
    // A counter that is there without an end keeps having none, unless it is to be given one.
    for (mode, kept) in [("keep", -1), ("refresh", HOUR), ("if_none", HOUR)] {
        let counter = format!("lasting-{mode}");
        assert_eq!(count(&counter, None, "keep").await, -1);
        match count(&counter, Some(HOUR), mode).await {
            -1 => assert_eq!(kept, -1, "{mode}"),
            told => about(told, kept),
        }
    }
    // A shorter one than it has is given as well.
    about(count("refresh", Some(HOUR / 4), "refresh").await, HOUR / 4);
}

#[tokio::test]
async fn is_zero_and_not_there_from_the_millisecond_it_ends() {
    let service = Service::new();
    ending(&service, "c", 10).await;
    service.advance_ms(HOUR - 60_000);
    assert_eq!(seen(&service, "c").await, (10, true, true));
    service.advance_ms(60_000);
    assert_eq!(seen(&service, "c").await, (0, false, false));
    // Redis still has the record, whose time is the real one; what counts is that of the script.
    assert!(kept_ms(&service, "c") > 0);
    let body = json!({ "counter": "c", "initial": 4, "max": 5 });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 4, 5));
    assert_eq!(seen(&service, "c").await, (5, true, false), "the old end is forgotten");
    assert_eq!(kept_ms(&service, "c"), -1);
}

#[tokio::test]
async fn refuses_what_is_no_step() {
    let service = Service::new();
    ending(&service, "c", 5).await;
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
    refuses_values(&service, PATH, &good, &bad).await;
    for mode in ["refresh", "if_none"] {
        let body = json!({ "counter": "c", "ttl_mode": mode });
        let told = refused(&service, PATH, body, 422, "validation_failed").await;
        assert_eq!(told["errors"][0]["pointer"], "/ttl_ms");
    }
    let told = refused(&service, PATH, json!({}), 422, "validation_failed").await;
    assert_eq!(told["errors"][0]["pointer"], "/counter");
    // What is null was not given.
    let body = json!({ "counter": "c", "max": null, "ttl_ms": null });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 5, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_as_many_get_a_coupon_as_there_are() {
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
    // Each number has been given out once.
    assert_eq!(taken, (1..=100).collect::<Vec<_>>());
    assert_eq!(service.counter("coupon").await, 100);
}

/// Up and down at random between two bounds, rejecting and saturating, while somebody looks: what was
/// applied adds up, and nobody ever sees the counter outside.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_adds_up_within_its_bounds() {
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
                let told = answer.assert(200);
                let step = told["applied"].as_i64().unwrap();
                let wanted = if up { by as i64 } else { -(by as i64) };
                assert!(
                    step == wanted
                        || on_bound == "saturate"
                            && step.abs() < wanted.abs()
                            && step * wanted >= 0,
                    "{told:#}"
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
