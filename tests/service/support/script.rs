//! Scripts that are run without the service.

use lockstep::store::Library;
use redis::{Connection, RedisResult, Value};

/// A step of a script: its keys and its arguments.
pub type Step = (Vec<String>, Vec<String>);

/// Runs the script of an operation with these steps, with a clock `ahead_ms` ahead of that of Redis.
pub fn run_steps(
    connection: &mut Connection,
    ahead_ms: i64,
    operation: &str,
    steps: &[Step],
) -> RedisResult<Vec<Value>> {
    let source = &Library::embedded().script(operation).source;
    run_source(connection, source, ahead_ms, operation, steps)
}

/// Runs the script of an operation for one step, with the clock of Redis standing at `now_ms`, and returns the
/// fields of its reply as texts.
pub fn run_step_at(
    connection: &mut Connection,
    now_ms: u64,
    operation: &str,
    keys: &[String],
    args: &[String],
) -> Vec<String> {
    let source = &Library::embedded().script(operation).source;
    // The one line that reads the clock of Redis gets the time of the test.
    let frozen = format!("local time = {{ {}, {} }}", now_ms / 1000, now_ms % 1000 * 1000);
    let source = source.replacen("local time = redis.pcall('TIME')", &frozen, 1);
    assert!(source.contains(&frozen));
    let step = (keys.to_vec(), args.to_vec());
    let replies = run_source(connection, &source, 0, operation, &[step]).unwrap();
    let Value::Array(fields) = &replies[1] else { panic!("{replies:?}") };
    let text = |field: &Value| match field {
        Value::Int(number) => number.to_string(),
        Value::Nil => String::new(),
        field => redis::from_redis_value(field.clone()).unwrap(),
    };
    fields.iter().map(text).collect()
}

fn run_source(
    connection: &mut Connection,
    source: &str,
    ahead_ms: i64,
    operation: &str,
    steps: &[Step],
) -> RedisResult<Vec<Value>> {
    let mut command = redis::cmd("EVAL");
    command.arg(source).arg(steps.iter().map(|(keys, _)| keys.len()).sum::<usize>());
    for (keys, _) in steps {
        command.arg(keys);
    }
    // After the clock come the times to live of idempotency records and transactions, and the history.
    command.arg([ahead_ms, 1000, 1000, 100].as_slice());
    for (keys, args) in steps {
        command.arg(operation).arg(keys.len()).arg(args.len()).arg("").arg(args);
    }
    command.query(connection)
}
