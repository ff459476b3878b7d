use deadpool_redis::{Connection, PoolError};
use redis::{Pipeline, Value};
use tokio::time::{Instant, timeout};

use super::{
    Context, Done, Error, Failure, Library, Operation, Raw, Store,
    operation::{Bound, data_prefix},
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
pub enum Executed<T> {
    /// It has happened.
    Done(T),
    /// A watched key has changed, and nothing has happened.
    Conflict,
    /// Redis did not know the script, and does now; nothing has happened.
    Loaded,
}

/// What was under a watched data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
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
    /// Watches data keys, and tells what is under them; and whether the call has happened already, under
    /// its idempotency key.
    ///
    /// # Errors
    ///
    /// Why it could not be asked. Nothing has happened.
    pub async fn watch(
        &self,
        keys: &[Id],
        context: &Context,
    ) -> Result<(Watch, Vec<Seen>, bool), Failure> {
        let connection = self.0.exclusive.get().await.map_err(|error| match error {
            PoolError::Timeout(_) => Failure::Overloaded,
            error => Failure::Unavailable(error.to_string()),
        })?;
        let mut watch =
            Watch { connection: Some(connection), started: Instant::now(), store: self.clone() };
        let prefix = format!("lockstep:{{{}}}:", context.space);
        let names: Vec<String> =
            keys.iter().map(|key| format!("{}{key}", data_prefix(&prefix))).collect();
        let mut pipeline = Pipeline::with_capacity(2 + 2 * keys.len());
        pipeline.cmd("WATCH").arg(&names);
        let once = context.idempotency_key.as_deref().unwrap_or_default();
        pipeline.cmd("EXISTS").arg(format!("{prefix}once:{once}"));
        for name in &names {
            // A GET of another type is an error of its own, and says nothing that TYPE does not.
            pipeline.cmd("TYPE").arg(name).cmd("GET").arg(name);
        }
        let nothing_happened = |failure| match failure {
            Failure::Unknown { cause, .. } => Failure::Unavailable(cause),
            other => other,
        };
        let answers = watch.send(pipeline).await.map_err(nothing_happened)?;
        let mut answers = answers.into_iter();
        refuse_error(answers.next())?;
        let happened = answers.next() == Some(Value::Int(1));
        let mut seen = Vec::with_capacity(keys.len());
        while let (Some(kind), Some(text)) = (answers.next(), answers.next()) {
            let kind = match kind {
                Value::SimpleString(kind) => kind,
                other => return Err(refuse_error(Some(other)).err().unwrap_or_else(confused)),
            };
            let text = match text {
                Value::BulkString(text) => Some(text),
                _ => None,
            };
            seen.push(Seen { kind, text });
        }
        Ok((watch, seen, happened))
    }
}

impl Watch {
    /// Ends it, with nothing done.
    ///
    /// # Errors
    ///
    /// Where Redis does not answer any more.
    pub async fn release(mut self) -> Result<(), Failure> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("UNWATCH");
        match self.send(pipeline).await {
            Ok(_) => {
                self.give_back();
                Ok(())
            }
            Err(Failure::Unknown { cause, .. }) => Err(Failure::Unavailable(cause)),
            Err(failure) => Err(failure),
        }
    }

    /// Runs an operation by MULTI and EXEC.
    ///
    /// # Errors
    ///
    /// The operation's refusal, or why there is no answer.
    pub async fn commit<O: Operation>(
        mut self,
        operation: &O,
        context: &Context,
    ) -> Result<Executed<Done<O::Reply>>, Error> {
        let script = Library::embedded().script(O::NAME);
        let bound = Bound::of(operation, &script, context);
        let repeatable = !bound.fingerprint.is_empty();
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.cmd("MULTI");
        self.store.0.frame.pack(&mut pipeline, &script, false, [(O::NAME, &bound)].into_iter());
        pipeline.cmd("EXEC");
        let answers = self.send(pipeline).await.map_err(|failure| match failure {
            Failure::Unknown { cause, .. } => Failure::Unknown { cause, repeatable },
            other => other,
        })?;
        // Whatever EXEC has answered, it has ended the WATCH.
        let executed = match answers.into_iter().next_back() {
            Some(Value::Array(values)) => values.into_iter().next(),
            Some(Value::Nil) => {
                self.give_back();
                return Ok(Executed::Conflict);
            }
            other => other,
        };
        match executed {
            Some(Value::ServerError(error)) if error.code() == "NOSCRIPT" => {
                let mut pipeline = Pipeline::new();
                pipeline.cmd("SCRIPT").arg("LOAD").arg(&script.source);
                self.send(pipeline).await.map_err(|_| Failure::Unavailable("no script".into()))?;
                self.give_back();
                Ok(Executed::Loaded)
            }
            Some(Value::Array(values)) if values.len() == 2 => {
                self.give_back();
                let mut values = values.into_iter();
                let replayed = values.next() == Some(Value::Int(1));
                let reply = values.next().unwrap_or_default();
                let raw = Raw { script, reply, replayed, started: Some(self.started) };
                raw.read::<O>().map(Executed::Done)
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
        let patience = self.store.0.timeout;
        match timeout(patience, sent).await {
            Ok(Ok(answers)) if answers.len() == count => Ok(answers),
            Ok(Ok(_)) => Err(unknown("answers are missing".to_owned())),
            Ok(Err(error)) => Err(unknown(error.to_string())),
            Err(_) => Err(unknown(format!("nothing within {} ms", patience.as_millis()))),
        }
    }

    /// Redis has nothing left of it, so that the connection may carry others.
    fn give_back(&mut self) {
        drop(self.connection.take());
    }
}

/// An error that Redis has answered, which is to say that nothing has happened.
fn refuse_error(answer: Option<Value>) -> Result<(), Failure> {
    match answer {
        Some(Value::ServerError(error)) => {
            Err(Failure::from_reply(error.code(), error.to_string()))
        }
        _ => Ok(()),
    }
}

fn confused() -> Failure {
    Failure::Broken("an answer to a transaction that makes no sense".to_owned())
}
