//! Counters against a small model in Rust: every answer, and every counter after every step, with
//! counters that end under the test's clock.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::MAX_SAFE_INTEGER;
use crate::support::{Server, Service};

const COUNTERS: usize = 3;
const MINUTE: i64 = 60_000;

#[derive(Debug, Clone)]
enum Step {
    Count { counter: usize, up: bool, by: i64, bound: Option<i64>, how: How },
    Set { counter: usize, value: i64, if_value: Option<Guess> },
    Reset { counter: usize, value: i64 },
    Delete { counter: usize },
    Batch { lines: Vec<(usize, Action, i64)>, atomic: bool },
    Wait { minutes: i64 },
}

#[derive(Debug, Clone)]
struct How {
    initial: i64,
    minutes: Option<i64>,
    mode: usize,
    saturate: bool,
}

/// The value that a caller expects a counter to have.
#[derive(Debug, Clone, Copy)]
enum Guess {
    Right,
    Some(i64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    Incr,
    Decr,
    Set,
}

const MODES: [&str; 3] = ["keep", "refresh", "if_none"];

/// Small values near the bounds, and values near the end of exact doubles.
fn values() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => -6_i64..12,
        1 => (0_i64..3).prop_map(|offset| MAX_SAFE_INTEGER - offset),
        1 => (0_i64..3).prop_map(|offset| offset - MAX_SAFE_INTEGER),
        1 => (-2_i64..3).prop_map(|offset| 100_000_000_000_000 + offset),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let counter = || 0..COUNTERS;
    let by = || values().prop_map(|value| value.abs().max(1));
    let minutes = prop_oneof![Just(45_i64), Just(100), Just(300)];
    let how = (values(), proptest::option::weighted(0.6, minutes), 0..MODES.len(), any::<bool>())
        .prop_map(|(initial, minutes, mode, saturate)| {
            let mode = if minutes.is_none() { 0 } else { mode };
            How { initial, minutes, mode, saturate }
        });
    let guess = prop_oneof![2 => Just(Guess::Right), 1 => values().prop_map(Guess::Some)];
    let action =
        prop_oneof![3 => Just(Action::Incr), 3 => Just(Action::Decr), 1 => Just(Action::Set)];
    let line = (counter(), action, values()).prop_map(|(counter, action, value)| {
        let value = if action == Action::Set { value } else { value.abs().max(1) };
        (counter, action, value)
    });
    prop_oneof![
        10 => (counter(), any::<bool>(), by(), proptest::option::of(values()), how)
            .prop_map(|(counter, up, by, bound, how)| Step::Count { counter, up, by, bound, how }),
        3 => (counter(), values(), proptest::option::of(guess))
            .prop_map(|(counter, value, if_value)| Step::Set { counter, value, if_value }),
        1 => (counter(), values()).prop_map(|(counter, value)| Step::Reset { counter, value }),
        1 => counter().prop_map(|counter| Step::Delete { counter }),
        5 => (prop::collection::vec(line, 1..6), any::<bool>())
            .prop_map(|(lines, atomic)| Step::Batch { lines, atomic }),
        4 => (1_i64..90).prop_map(|minutes| Step::Wait { minutes }),
    ]
}

/// The model: the value and the expiry of each counter that exists.
#[derive(Default, Clone)]
struct Counters {
    now: i64,
    step: u32,
    all: [Option<(i64, Option<End>)>; COUNTERS],
}

/// The minute at which a counter expires, and the step that has set it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct End {
    at: i64,
    given: u32,
}

impl Counters {
    fn value(&self, counter: usize) -> i64 {
        self.all[counter].map_or(0, |(value, _)| value)
    }

    /// Writes a value and keeps the expiry; a new counter has none.
    fn write(&mut self, counter: usize, value: i64) -> Value {
        let previous = self.value(counter);
        let end = self.all[counter].and_then(|(_, end)| end);
        self.all[counter] = Some((value, end));
        changed(counter, previous, value)
    }

    fn count(
        &mut self,
        counter: usize,
        by: i64,
        bound: Option<i64>,
        how: &How,
    ) -> Result<Value, &'static str> {
        let there = self.all[counter];
        let previous = there.map_or(how.initial, |(value, _)| value);
        let mut value = previous + by;
        let bound = bound.or(how.saturate.then_some(MAX_SAFE_INTEGER * by.signum()));
        let passes = |bound: i64| if by > 0 { value > bound } else { value < bound };
        if let Some(bound) = bound.filter(|bound| passes(*bound)) {
            let beyond = if by > 0 { previous > bound } else { previous < bound };
            if !how.saturate || beyond && there.is_none() {
                return Err(if by > 0 {
                    "counter_limit_exceeded"
                } else {
                    "counter_below_minimum"
                });
            }
            value = if by > 0 { previous.max(bound) } else { previous.min(bound) };
        }
        if value.abs() > MAX_SAFE_INTEGER {
            return Err("counter_out_of_range");
        }
        if value != previous || there.is_none() && value != 0 {
            let old = there.and_then(|(_, end)| end);
            let new = how.minutes.map(|minutes| End { at: self.now + minutes, given: self.step });
            let end = match (there, MODES[how.mode]) {
                (None, _) => new,
                (_, "refresh") => new,
                (_, "if_none") => old.or(new),
                _ => old,
            };
            self.all[counter] = Some((value, end));
        }
        Ok(changed(counter, previous, value))
    }

    fn line(
        &mut self,
        (counter, action, value): (usize, Action, i64),
    ) -> Result<Value, &'static str> {
        let previous = self.value(counter);
        let wanted = match action {
            Action::Incr => previous + value,
            Action::Decr => previous - value,
            Action::Set => value,
        };
        if action == Action::Decr && wanted < 0 {
            return Err("counter_below_minimum");
        }
        if wanted.abs() > MAX_SAFE_INTEGER {
            return Err("counter_out_of_range");
        }
        Ok(self.write(counter, wanted))
    }

    /// Applies a step: the answer, or the code of the refusal.
    fn apply(&mut self, step: &Step) -> Result<Value, &'static str> {
        self.step += 1;
        match step {
            Step::Count { counter, up, by, bound, how } => {
                let bound = if *up { *bound } else { Some(bound.unwrap_or(0)) };
                self.count(*counter, if *up { *by } else { -by }, bound, how)
            }
            Step::Set { counter, value, if_value } => {
                let expected = if_value.map(|guess| self.guessed(*counter, guess));
                if expected.is_some_and(|expected| expected != self.value(*counter)) {
                    return Err("value_mismatch");
                }
                Ok(self.write(*counter, *value))
            }
            Step::Reset { counter, value } => Ok(self.write(*counter, *value)),
            Step::Delete { counter } => {
                let previous = self.value(*counter);
                let gone = self.all[*counter].take().is_some();
                Ok(json!({ "counter": name(*counter), "deleted": gone, "previous": previous }))
            }
            Step::Batch { lines, atomic } => {
                let before = self.clone();
                let mut results = Vec::new();
                for line in lines {
                    match self.line(*line) {
                        Err(code) if *atomic => {
                            *self = before;
                            return Err(code);
                        }
                        Err(code) => results.push(json!(code)),
                        Ok(body) => results.push(body),
                    }
                }
                Ok(json!(results))
            }
            Step::Wait { minutes } => {
                self.now += minutes;
                for counter in &mut self.all {
                    *counter = counter.filter(|(_, end)| end.is_none_or(|end| end.at > self.now));
                }
                Ok(Value::Null)
            }
        }
    }

    fn guessed(&self, counter: usize, guess: Guess) -> i64 {
        match guess {
            Guess::Right => self.value(counter),
            Guess::Some(value) => value,
        }
    }
}

fn changed(counter: usize, previous: i64, value: i64) -> Value {
    super::changed(&name(counter), previous, value)
}

fn name(counter: usize) -> String {
    format!("c{counter}")
}

/// Runs the same step as a call of the service, and returns the answer in the form of the model.
async fn call(service: &Service, model: &Counters, step: &Step) -> Result<Value, String> {
    let answer = match step {
        Step::Count { counter, up, by, bound, how } => {
            let mut body = json!({
                "counter": name(*counter), "by": by, "initial": how.initial,
                "ttl_ms": how.minutes.map(|minutes| minutes * MINUTE), "ttl_mode": MODES[how.mode],
                "on_bound": if how.saturate { "saturate" } else { "reject" }
            });
            if let Some(bound) = bound {
                body[if *up { "max" } else { "min" }] = json!(bound);
            }
            let verb = if *up { "increment" } else { "decrement" };
            service.post(&format!("/counters/{verb}"), body).await
        }
        Step::Set { counter, value, if_value } => {
            let if_value = if_value.map(|guess| model.guessed(*counter, guess));
            let body = json!({ "counter": name(*counter), "value": value, "if_value": if_value });
            service.post("/counters/set", body).await
        }
        Step::Reset { counter, value } => {
            let body = json!({ "counter": name(*counter), "value": value });
            service.post("/counters/reset", body).await
        }
        Step::Delete { counter } => service.delete(&format!("/counters/{}", name(*counter))).await,
        Step::Batch { lines, atomic } => {
            let line = |(counter, action, value): &(usize, Action, i64)| {
                let action = match action {
                    Action::Incr => "incr",
                    Action::Decr => "decr",
                    Action::Set => "set",
                };
                json!({ "counter": name(*counter), "action": action, "value": value })
            };
            let lines: Value = lines.iter().map(line).collect();
            let body = json!({ "operations": lines, "atomic": atomic });
            service.post("/counters/batch", body).await
        }
        Step::Wait { minutes } => {
            service.advance_ms(minutes * MINUTE);
            return Ok(Value::Null);
        }
    };
    assert!(answer.status.as_u16() < 500, "{step:?}: {:#}", answer.body);
    if let Some(code) = answer.body["code"].as_str() {
        return Err(code.to_owned());
    }
    let found = answer.assert(200);
    let Some(results) = found["results"].as_array() else { return Ok(found) };
    let result = |result: &Value| result.get("code").unwrap_or(result).clone();
    Ok(results.iter().map(result).collect())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default()
    })]

    #[test]
    fn counters_agree_with_a_model_after_every_step(steps in prop::collection::vec(steps(), 10..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        static SERVER: LazyLock<Server> = LazyLock::new(Server::of_this_run);
        runtime.block_on(async {
            let service = Service::on_own_redis(&SERVER);
            let mut model = Counters::default();
            // The expiry of each counter as the answer gave it when it was set.
            let mut ends: [Option<(End, Value)>; COUNTERS] = Default::default();
            for step in steps {
                let body = call(&service, &model, &step).await;
                let expected = model.apply(&step).map_err(str::to_owned);
                prop_assert_eq!(body, expected, "{:?}", step);
                for (counter, known) in ends.iter_mut().enumerate() {
                    let body = service.get(&format!("/counters/{}", name(counter))).await.assert(200);
                    let it = model.all[counter];
                    prop_assert_eq!(&body["value"], model.value(counter), "after {:?}", step);
                    prop_assert_eq!(&body["exists"], it.is_some(), "after {:?}", step);
                    let end = it.and_then(|(_, end)| end);
                    prop_assert_eq!(body["expires_at"].is_string(), end.is_some(), "{:?}", step);
                    // An expiry that the model has not moved is the same to the millisecond.
                    match (&*known, end) {
                        (Some((before, seen)), Some(end)) if *before == end => {
                            prop_assert_eq!(&body["expires_at"], seen, "after {:?}", step);
                        }
                        _ => *known = end.map(|end| (end, body["expires_at"].clone())),
                    }
                }
            }
            Ok(())
        })?;
    }
}
