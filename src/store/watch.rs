use deadpool_redis::{Connection, PoolError, TimeoutType};
use redis::{Pipeline, Value};
use tokio::time::{Instant, timeout};

use super::{
    Completed, Context, Error, Failure, Library, Operation, RawReply, Store,
    operation::{EncodedInvocation, data_prefix},
};
use crate::types::Id;

/// A connection that nobody else has, with a WATCH on it. It goes back to the pool only when Redis has
/// said that nothing of it is left; dropped before, as when its caller goes away, it is closed.
pub struct Watch {
    connection: Option<Connection>,
    started: Instant,
    store: Store,
}

/// How an EXEC has ended.
#[derive(Debug)]
pub enum ExecOutcome<T> {
    /// It has happened.
    Completed(T),
    /// A watched key has changed, and nothing has happened.
    Conflict,
    /// Redis does not know the script, and nothing has happened.
    Unknown,
}

/// What was under a watched data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedValue {
    /// Redis' word for its type; `none` where there is nothing.
    pub kind: String,
    /// Its bytes, where it is a string.
    pub text: Option<Vec<u8>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Connection::take(connection));
        }
    }
}

impl Store {
    /// Watches data keys, and tells what is under them: of strings, that many bytes at most.
    ///
    /// # Errors
    ///
    /// Why it could not be asked. Nothing has happened.
    pub async fn watch(
        &self,
        keys: &[Id],
        most: usize,
        context: &Context,
    ) -> Result<(Watch, Vec<WatchedValue>), Failure> {
        let connection = self.borrow().await?;
        let mut watch =
            Watch { connection: Some(connection), started: Instant::now(), store: self.clone() };
        let prefix = data_prefix(&format!("lockstep:{{{}}}:", context.space));
        let names: Vec<String> = keys.iter().map(|key| format!("{prefix}{key}")).collect();
        let mut pipeline = Pipeline::with_capacity(1 + 2 * keys.len());
        pipeline.cmd("WATCH").arg(&names);
        for name in &names {
            pipeline.cmd("TYPE").arg(name);
            pipeline.cmd("GETRANGE").arg(name).arg(0).arg(most.saturating_sub(1));
        }
        let nothing_happened = |failure| match failure {
            Failure::Unknown { cause, .. } => Failure::Unavailable(cause),
            other => other,
        };
        let answers = watch.send(pipeline).await.map_err(nothing_happened)?;
        let mut answers = answers.into_iter();
        refuse_error(answers.next())?;
        let mut seen = Vec::with_capacity(keys.len());
        while let (Some(kind), Some(text)) = (answers.next(), answers.next()) {
            let Value::SimpleString(kind) = kind else {
                refuse_error(Some(kind))?;
                return Err(confused());
            };
            let text = match (kind.as_str(), text) {
                ("string", Value::BulkString(text)) => Some(text),
                ("string", other) => {
                    refuse_error(Some(other))?;
                    return Err(confused());
                }
                // Of another type, GETRANGE says only what TYPE does.
                _ => None,
            };
            seen.push(WatchedValue { kind, text });
        }
        Ok((watch, seen))
    }

    async fn borrow(&self) -> Result<Connection, Failure> {
        // The pool tries one idle connection after the other, and waits for each.
        match timeout(self.0.timeout, self.0.exclusive.get()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(PoolError::Timeout(TimeoutType::Wait))) => Err(Failure::Overloaded),
            Ok(Err(error)) => Err(Failure::Unavailable(error.to_string())),
            Err(_) if self.0.exclusive.status().waiting > 0 => Err(Failure::Overloaded),
            Err(_) => Err(Failure::Unavailable("no connection in time".to_owned())),
        }
    }
}

impl Watch {
    /// Runs an operation by MULTI and EXEC; `load` brings its script along.
    ///
    /// # Errors
    ///
    /// The operation's refusal, or why there is no answer.
    pub async fn commit<O: Operation>(
        mut self,
        operation: &O,
        load: bool,
        context: &Context,
    ) -> Result<ExecOutcome<Completed<O::Reply>>, Error> {
        let script = Library::embedded().script(O::NAME);
        let bound = EncodedInvocation::of(operation, &script, context);
        let repeatable = !bound.fingerprint.is_empty();
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.cmd("MULTI");
        self.store.0.frame.pack(&mut pipeline, &script, load, [(O::NAME, &bound)].into_iter());
        pipeline.cmd("EXEC");
        let answers = self.send(pipeline).await.map_err(|failure| match failure {
            Failure::Unknown { cause, .. } => Failure::Unknown { cause, repeatable },
            other => other,
        })?;
        let mut answers = answers.into_iter();
        let (Some(_), Some(queued), Some(executed)) =
            (answers.next(), answers.next(), answers.next())
        else {
            return Err(confused().into());
        };
        let executed = match executed {
            Value::Array(values) => values.into_iter().next(),
            Value::Nil => {
                self.give_back();
                return Ok(ExecOutcome::Conflict);
            }
            error => {
                // EXEC says only that it was called off; why, it was told when the script was queued.
                refuse_error(Some(queued))?;
                Some(error)
            }
        };
        // Whatever EXEC has answered, it has ended the WATCH.
        self.give_back();
        match executed {
            Some(Value::ServerError(error)) if error.code() == "NOSCRIPT" => {
                Ok(ExecOutcome::Unknown)
            }
            Some(Value::Array(values)) if values.len() == 2 => {
                let mut values = values.into_iter();
                let replayed = values.next() == Some(Value::Int(1));
                let reply = values.next().unwrap_or_default();
                let raw = RawReply { script, reply, replayed, started: Some(self.started) };
                raw.read::<O>().map(ExecOutcome::Completed)
            }
            other => Err(refuse_error(other).err().unwrap_or_else(confused).into()),
        }
    }

    async fn send(&mut self, mut pipeline: Pipeline) -> Result<Vec<Value>, Failure> {
        let unknown = |cause: String| Failure::Unknown { cause, repeatable: false };
        let Some(connection) = &mut self.connection else { return Err(unknown("none".to_owned())) };
        let count = pipeline.len();
        pipeline.ignore_errors();
        let sent = connection.send_packed_commands(&pipeline, 0, count);
        let timeout_after = self.store.0.timeout;
        match timeout(timeout_after, sent).await {
            Ok(Ok(answers)) if answers.len() == count => Ok(answers),
            Ok(Ok(_)) => Err(unknown("answers are missing".to_owned())),
            Ok(Err(error)) => Err(unknown(error.to_string())),
            Err(_) => Err(unknown(format!("nothing within {} ms", timeout_after.as_millis()))),
        }
    }

    /// Redis has nothing left of it, so that the connection may carry others.
    fn give_back(&mut self) {
        drop(self.connection.take());
    }
}

/// An error that Redis has answered, which is to say that nothing has happened.
fn refuse_error(answer: Option<Value>) -> Result<(), Failure> {
    let Some(Value::ServerError(error)) = answer else { return Ok(()) };
    let message = error.to_string();
    // What EXEC could not begin for has its own word behind these.
    let cause = message.split_once("because of: ").and_then(|(_, cause)| cause.split(' ').next());
    let code = cause.unwrap_or(error.code()).to_owned();
    Err(Failure::from_reply(&code, message))
}

fn confused() -> Failure {
    Failure::Broken("an answer to a transaction that makes no sense".to_owned())
}
