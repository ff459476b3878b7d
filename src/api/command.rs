//! Commands: what their own endpoint, `POST /atomic` and `POST /bulk` share.

use std::pin::Pin;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{Problem, Result, check_requirement, read_json};
use crate::{
    auth::Requirement,
    store::{self, Completed, Context, ErasedOperation, Operation, RawReply, Store},
    types::codes,
};

/// A command: the body that a caller sends, the operation that it becomes, and the answer. The
/// command's own endpoint, `POST /atomic` and `POST /bulk` all run it through these functions.
pub trait Command: DeserializeOwned + Send + 'static {
    /// The operation that runs in Redis.
    type Operation: Operation + Send + 'static;

    /// The body of the answer.
    type Output: Serialize + Send;

    /// Checks what can be checked without Redis, and reads what the operation needs beside the body,
    /// such as the accounts of a hold.
    ///
    /// # Errors
    ///
    /// The problem with the command, with pointers into its body; or the failure of that read.
    fn prepare(
        self,
        store: &Store,
        context: &Context,
    ) -> impl Future<Output = std::result::Result<Self::Operation, Problem>> + Send;

    /// Makes the answer of the reply of the operation.
    ///
    /// # Errors
    ///
    /// The operation's refusal, or the failure of the store, as a problem.
    fn answer(
        operation: &Self::Operation,
        result: std::result::Result<Completed<ReplyOf<Self>>, store::Error>,
    ) -> Result<Self::Output>;

    /// Prepares the command, runs its operation in a script of its own, and answers.
    ///
    /// # Errors
    ///
    /// The problems of [`Command::prepare`] and of [`Command::answer`].
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

/// A command with its type erased: an entry of the table that `POST /atomic` and `POST /bulk` look
/// commands up in.
#[derive(Clone, Copy)]
pub struct CommandEntry {
    /// The name of its operation, such as `accounts/transfer`.
    pub name: &'static str,
    prepare: for<'a> fn(&'a RawValue, &'a Store, &'a Context) -> Preparing<'a>,
}

type Preparing<'a> = Pin<
    Box<dyn Future<Output = std::result::Result<Box<dyn PreparedCommand>, Problem>> + Send + 'a>,
>;

impl CommandEntry {
    /// The entry of the command `C`.
    pub const fn of<C: Command>() -> CommandEntry {
        CommandEntry {
            name: <C::Operation as Operation>::NAME,
            prepare: |input, store, context| {
                Box::pin(async move {
                    let command: C = read_json(input.get().as_bytes())?;
                    let operation = command.prepare(store, context).await?;
                    Ok(Box::new(TypedCommand::<C>(operation)) as Box<dyn PreparedCommand>)
                })
            },
        }
    }

    /// Checks that the caller may run the command, reads its body from `input` and prepares it, as its own endpoint
    /// does.
    ///
    /// # Errors
    ///
    /// `insufficient_scope`, and the problems of its own endpoint, with pointers into `input`.
    pub async fn prepare(
        &self,
        input: &RawValue,
        store: &Store,
        context: &Context,
    ) -> std::result::Result<Box<dyn PreparedCommand>, Problem> {
        if let Some(principal) = &context.principal {
            // Every command of the table writes.
            let requirement = Requirement::of_operation(self.name, true, None, false);
            check_requirement(principal, &requirement.unwrap_or(Requirement::Everything))?;
        }
        (self.prepare)(input, store, context).await
    }
}

/// A command that has been read and checked, with its type erased.
pub trait PreparedCommand: Send + Sync {
    /// The operation to run.
    fn operation(&self) -> &dyn ErasedOperation;

    /// The answer of its own endpoint, with the body as JSON.
    ///
    /// # Errors
    ///
    /// The problem that its own endpoint would have answered.
    fn answer(&self, result: std::result::Result<RawReply, store::Error>) -> Result<Box<RawValue>>;

    /// The problem of a reply that is a refusal.
    fn refusal(&self, raw: RawReply) -> Problem;
}

struct TypedCommand<C: Command>(C::Operation);

impl<C: Command> PreparedCommand for TypedCommand<C> {
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
