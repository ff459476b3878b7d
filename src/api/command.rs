use std::pin::Pin;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{Problem, Result, read_json};
use crate::{
    store::{self, Completed, Context, ErasedOperation, Operation, RawReply, Store},
    types::codes,
};

/// What a caller sends, the operation that it becomes, and what is answered. The endpoint of a
/// command, `POST /atomic` and `POST /bulk` all go this one way.
pub trait Command: DeserializeOwned + Send + 'static {
    /// What runs.
    type Operation: Operation + Send + 'static;

    /// What is answered when it has happened.
    type Output: Serialize + Send;

    /// Checks what needs no look at Redis, and finds what the operation needs to know beside it.
    ///
    /// # Errors
    ///
    /// What is wrong with the command, with pointers into it; or that Redis could not be asked.
    fn prepare(
        self,
        store: &Store,
        context: &Context,
    ) -> impl Future<Output = std::result::Result<Self::Operation, Problem>> + Send;

    /// What the caller is told.
    ///
    /// # Errors
    ///
    /// The refusal, or why there is no answer.
    fn answer(
        operation: &Self::Operation,
        result: std::result::Result<Completed<ReplyOf<Self>>, store::Error>,
    ) -> Result<Self::Output>;

    /// Runs it on its own.
    ///
    /// # Errors
    ///
    /// Those of the two steps above.
    fn run(
        self,
        store: &Store,
        context: &Context,
    ) -> impl Future<Output = Result<Self::Output>> + Send {
        async move {
            let operation = self.prepare(store, context).await?;
            Self::answer(&operation, store.run(&operation, context).await)
        }
    }
}

type ReplyOf<C> = <<C as Command>::Operation as Operation>::Reply;

/// A command by its name, for calls that take any of several.
#[derive(Clone, Copy)]
pub struct CommandEntry {
    /// That of its operation, such as `accounts/transfer`.
    pub name: &'static str,
    prepare: for<'a> fn(&'a RawValue, &'a Store, &'a Context) -> Preparing<'a>,
}

type Preparing<'a> = Pin<
    Box<dyn Future<Output = std::result::Result<Box<dyn PreparedCommand>, Problem>> + Send + 'a>,
>;

impl CommandEntry {
    /// That of a command.
    pub const fn of<C: Command>() -> CommandEntry {
        CommandEntry {
            name: <C::Operation as Operation>::NAME,
            prepare: |input, store, context| {
                Box::pin(async move {
                    let command: C = read_json(input.get().as_bytes())?;
                    let operation = command.prepare(store, context).await?;
                    Ok(Box::new(Ready::<C>(operation)) as Box<dyn PreparedCommand>)
                })
            },
        }
    }

    /// Reads the input of one, and checks it as its own endpoint does.
    ///
    /// # Errors
    ///
    /// Those of its own endpoint, with pointers that begin at the input.
    pub async fn prepare(
        &self,
        input: &RawValue,
        store: &Store,
        context: &Context,
    ) -> std::result::Result<Box<dyn PreparedCommand>, Problem> {
        (self.prepare)(input, store, context).await
    }
}

/// A command that has been read and checked.
pub trait PreparedCommand: Send + Sync {
    /// What runs.
    fn operation(&self) -> &dyn ErasedOperation;

    /// What its own endpoint would have answered, as JSON.
    ///
    /// # Errors
    ///
    /// The refusal, or why there is no answer.
    fn answer(&self, result: std::result::Result<RawReply, store::Error>) -> Result<Box<RawValue>>;

    /// Why it has not happened, where the store says that it refused.
    fn refusal(&self, raw: RawReply) -> Problem;
}

struct Ready<C: Command>(C::Operation);

impl<C: Command> PreparedCommand for Ready<C> {
    fn operation(&self) -> &dyn ErasedOperation {
        &self.0
    }

    fn answer(&self, result: std::result::Result<RawReply, store::Error>) -> Result<Box<RawValue>> {
        C::answer(&self.0, result.and_then(RawReply::read::<C::Operation>))?.into_json()
    }

    fn refusal(&self, raw: RawReply) -> Problem {
        match raw.read::<C::Operation>() {
            Err(error) => error.into(),
            Ok(_) => codes::INTERNAL_ERROR.into(),
        }
    }
}
