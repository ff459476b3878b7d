use serde_json::{Value, json};

use super::{
    MAX_SAFE_INTEGER, assert_rejects_values, changed, expect_refusal, kept_ms, read, set,
    set_with_expiry,
};
use crate::support::{HOUR, Service, race_each, seed};

const PATH: &str = "/counters/batch";

fn lines(operations: &[(&str, &str, i64)]) -> Value {
    let line = |(counter, action, value): &(&str, &str, i64)| json!({ "counter": counter, "action": action, "value": value });
    operations.iter().map(line).collect()
}

fn batch(operations: &[(&str, &str, i64)], atomic: bool) -> Value {
    json!({ "operations": lines(operations), "atomic": atomic })
}

#[tokio::test]
async fn changes_several_counters_in_order() {
    let service = Service::new();
    for atomic in [true, false] {
        let service = service.in_new_space();
        let body = batch(&[("a", "incr", 5), ("b", "set", -2), ("a", "decr", 3)], atomic);
        let answer = service.post(PATH, body).await.assert(200);
        let expected = [changed("a", 0, 5), changed("b", 0, -2), changed("a", 5, 2)];
        assert_eq!(answer, json!({ "results": expected }));
        assert_eq!((service.counter("a").await, service.counter("b").await), (2, -2));
        assert_eq!(kept_ms(&service, "a"), -1);
    }
    // All or none is the default.
    let body = json!({ "operations": lines(&[("a", "incr", 1), ("a", "decr", 2)]) });
    expect_refusal(&service, PATH, body, 409, "counter_below_minimum").await;
}

#[tokio::test]
async fn several_steps_of_one_counter_add_up() {
    let service = Service::new();
    set_with_expiry(&service, "c", 10).await;
    let body = batch(
        &[("c", "decr", 10), ("c", "incr", 7), ("c", "set", 3), ("c", "incr", 1), ("c", "decr", 4)],
        true,
    );
    let answer = service.post(PATH, body).await.assert(200);
    let steps = [(10, 0), (0, 7), (7, 3), (3, 4), (4, 0)];
    let expected: Vec<_> = steps.iter().map(|(from, to)| changed("c", *from, *to)).collect();
    assert_eq!(answer["results"], json!(expected));
    assert_eq!(read(&service, "c").await, (0, true, true), "its time to live stays");
    // A step counts from the result of an earlier step, not from the stored value.
    let body = batch(&[("c", "incr", 5), ("c", "decr", 6)], true);
    let answer = expect_refusal(&service, PATH, body, 409, "counter_below_minimum").await;
    assert_eq!((&answer["value"], &answer["operation_index"]), (&json!(5), &json!(1)));
    let body = batch(&[("c", "incr", 5), ("c", "decr", 6), ("c", "decr", 5)], false);
    let answer = service.post(PATH, body).await.assert(200);
    assert_eq!(answer["results"][1]["code"], "counter_below_minimum");
    assert_eq!(answer["results"][2], changed("c", 5, 0));
}

#[tokio::test]
async fn one_refused_step_refuses_all() {
    let service = Service::new();
    set_with_expiry(&service, "a", 5).await;
    set(&service, "top", MAX_SAFE_INTEGER).await;
    let good = [("a", "incr", 1), ("b", "set", 1), ("a", "decr", 2)];
    let bad = [
        (("c", "decr", 1), 409, "counter_below_minimum", 0),
        (("top", "incr", 1), 422, "counter_out_of_range", MAX_SAFE_INTEGER),
    ];
    for (line, status, code, value) in bad {
        for place in 0..=good.len() {
            let mut operations = good.to_vec();
            operations.insert(place, line);
            let answer =
                expect_refusal(&service, PATH, batch(&operations, true), status, code).await;
            assert_eq!(answer["operation_index"], place);
            assert_eq!((&answer["counter"], &answer["value"]), (&json!(line.0), &json!(value)));
        }
    }
}

#[tokio::test]
async fn without_atomic_the_other_steps_happen() {
    let service = Service::new();
    set_with_expiry(&service, "a", 5).await;
    set(&service, "top", MAX_SAFE_INTEGER).await;
    let body = batch(
        &[
            ("b", "decr", 1),
            ("a", "incr", 1),
            ("top", "incr", 1),
            ("b", "set", 7),
            ("a", "decr", 9),
        ],
        false,
    );
    let answer = service.post(PATH, body).await.assert(200);
    let results = answer["results"].as_array().unwrap();
    let below = json!({
        "counter": "b", "code": "counter_below_minimum", "title": "Minimum of the counter"
    });
    assert_eq!(results[0], below);
    assert_eq!(results[1], changed("a", 5, 6));
    let far = (&results[2]["counter"], &results[2]["code"]);
    assert_eq!(far, (&json!("top"), &json!("counter_out_of_range")));
    assert!(results[2]["title"].is_string());
    assert_eq!(results[3], changed("b", 0, 7));
    assert_eq!(results[4]["code"], "counter_below_minimum");
    assert_eq!((service.counter("a").await, service.counter("b").await), (6, 7));
    assert_eq!(read(&service, "a").await, (6, true, true));
    // Steps that change nothing write nothing.
    let before = service.snapshot();
    let body = batch(&[("none", "decr", 1), ("top", "incr", 1)], false);
    service.post(PATH, body).await.assert(200);
    service.assert_unchanged(&before);
}

/// A foreign record under the key of one counter affects the other counters only where the batch is
/// atomic.
#[tokio::test]
async fn a_foreign_record_is_an_error() {
    let service = Service::new();
    for (kind, text) in [("list", "1"), ("hash", "1"), ("string", "7"), ("string", "{}")] {
        let service = service.in_new_space();
        set(&service, "a", 5).await;
        seed(&mut service.raw(), &service.key("counter", "odd"), kind, text);
        let before = service.snapshot();
        for operations in [
            [("odd", "incr", 1), ("a", "incr", 1), ("b", "incr", 1)],
            [("a", "incr", 1), ("odd", "set", 1), ("b", "incr", 1)],
            [("a", "incr", 1), ("b", "incr", 1), ("odd", "incr", 1)],
        ] {
            service
                .post(PATH, batch(&operations, true))
                .await
                .expect_problem(500, "internal_error");
            service.assert_unchanged(&before);
        }
        let body = batch(&[("odd", "set", 1), ("a", "incr", 1), ("odd", "incr", 1)], false);
        let answer = service.post(PATH, body).await.assert(200);
        assert_eq!(answer["results"][0]["code"], "internal_error", "{answer:#}");
        assert_eq!(answer["results"][1], changed("a", 5, 6));
        assert_eq!(answer["results"][2]["code"], "internal_error");
        let now = service.snapshot();
        let odd = service.key("counter", "odd");
        let find = |all: &[(String, Vec<u8>)]| all.iter().find(|(key, _)| *key == odd).cloned();
        assert_eq!(find(&now), find(&before), "and that stays as it was");
    }
}

#[tokio::test]
async fn is_exact_up_to_53_bits() {
    let service = Service::new();
    set(&service, "top", MAX_SAFE_INTEGER - 1).await;
    set(&service, "bottom", 0).await;
    let body = batch(
        &[
            ("top", "incr", 1),
            ("bottom", "set", -MAX_SAFE_INTEGER),
            ("bottom", "incr", MAX_SAFE_INTEGER),
        ],
        true,
    );
    let expected = json!({ "results": [
        changed("top", MAX_SAFE_INTEGER - 1, MAX_SAFE_INTEGER),
        changed("bottom", 0, -MAX_SAFE_INTEGER),
        changed("bottom", -MAX_SAFE_INTEGER, 0),
    ] });
    for replayed in [false, true] {
        let answer = service.post(PATH, body.clone()).key("k").await;
        assert_eq!(answer.replayed(), replayed);
        assert_eq!(answer.assert(200), expected);
    }
    // The replay of a refusal names the step as well.
    let body = batch(&[("top", "decr", 1), ("bottom", "decr", 1)], true);
    for replayed in [false, true] {
        let answer = service.post(PATH, body.clone()).key("l").await;
        assert_eq!(answer.replayed(), replayed);
        assert_eq!(answer.expect_problem(409, "counter_below_minimum")["operation_index"], 1);
    }
}

#[tokio::test]
async fn an_expired_counter_starts_again() {
    let service = Service::new();
    set_with_expiry(&service, "c", 10).await;
    service.advance_ms(HOUR);
    let body = batch(&[("c", "decr", 1)], true);
    expect_refusal(&service, PATH, body, 409, "counter_below_minimum").await;
    let answer = service.post(PATH, batch(&[("c", "incr", 2)], true)).await.assert(200);
    assert_eq!(answer["results"][0], changed("c", 0, 2));
    assert_eq!(kept_ms(&service, "c"), -1);
}

#[tokio::test]
async fn refuses_invalid_batches() {
    let service = Service::new();
    set_with_expiry(&service, "c", 5).await;
    let good = batch(&[("c", "incr", 1), ("c", "decr", 1)], true);
    let bad = [
        ("/operations/1/value", json!(0), "validation_failed"),
        ("/operations/0/value", json!(-1), "validation_failed"),
        ("/operations/0/value", json!(1.5), "validation_failed"),
        ("/operations/0/value", json!("1"), "validation_failed"),
        ("/operations/1/value", json!(1_i64 << 53), "counter_out_of_range"),
        ("/operations/0/action", json!("increment"), "validation_failed"),
        ("/operations/1/action", json!("get"), "validation_failed"),
        ("/operations/1/counter", json!("a/b"), "invalid_id"),
        ("/operations/1/counter", json!("batch"), "invalid_id"),
        ("/operations/0", json!([]), "validation_failed"),
        ("/operations/0", json!(["c", "incr", 1]), "validation_failed"),
        ("/operations", json!([]), "validation_failed"),
        ("/operations", json!({}), "validation_failed"),
        ("/atomic", json!("true"), "validation_failed"),
        ("/dry_run", json!(true), "unknown_field"),
    ];
    assert_rejects_values(&service, PATH, &good, &bad).await;
    let mut odd = good.clone();
    odd["operations"][1]["max"] = 3.into();
    let answer = expect_refusal(&service, PATH, odd, 422, "unknown_field").await;
    assert_eq!(answer["errors"][0]["pointer"], "/operations/1/max");
    // A batch has 128 steps at most; `set` may be 0 or below, unlike the steps up and down.
    let many = |count: usize| batch(&vec![("c", "incr", 1); count], true);
    let answer = expect_refusal(&service, PATH, many(129), 422, "validation_failed").await;
    assert_eq!(answer["errors"][0]["pointer"], "/operations");
    let answer = service.post(PATH, many(128)).await.assert(200);
    assert_eq!(answer["results"][127], changed("c", 132, 133));
    let answer = service.post(PATH, batch(&[("c", "set", 0), ("c", "set", -1)], true)).await;
    assert_eq!(answer.assert(200)["results"][1], changed("c", 0, -1));
}

/// Batches that move units between counters race, and some are refused: the sum stays, because no batch
/// happens in part.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_moves_between_counters_keep_the_sum() {
    let service = Service::new();
    for counter in ["c0", "c1", "c2"] {
        set(&service, counter, 20).await;
    }
    race_each(0..48_i64, |task| {
        let service = service.clone();
        async move {
            for round in 0..10 {
                let (from, to) = ((task + round) % 3, (task + round + 1 + task % 2) % 3);
                let by = 1 + (task * 7 + round) % 15;
                let (from, to) = (format!("c{from}"), format!("c{to}"));
                // If the second step alone were refused, the first would be left over.
                let body = batch(&[(&to, "incr", by), (&from, "decr", by)], true);
                let answer = service.post(PATH, body).await;
                if answer.status.as_u16() != 200 {
                    answer.expect_problem(409, "counter_below_minimum");
                }
            }
        }
    })
    .await;
    let mut sum = 0;
    for counter in ["c0", "c1", "c2"] {
        let value = service.counter(counter).await;
        assert!(value >= 0, "{value}");
        sum += value;
    }
    assert_eq!(sum, 60);
}
