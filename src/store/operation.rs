use std::{
    fmt::{self, Display},
    io::Write,
    mem,
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha1_smol::Sha1;
use uuid::Uuid;

use super::{Failure, Library, Script};
use crate::types::{Code, Id};

/// The most steps in one script. A thousand would keep Redis from everybody else for tens of
/// milliseconds.
pub(super) const MAX_STEPS: usize = 128;

/// One atomic business operation: the request type is the operation.
pub trait Operation: Sync {
    /// The operation's one name: its script under `migrations-lua/`, its span, its metric label.
    const NAME: &'static str;

    /// The codes of its domain: every other word the script may answer with is one of them, or of
    /// those that every call can give.
    const CODES: &'static [Code];

    /// The fields after the word `ok`.
    type Reply: DeserializeOwned;

    /// Names each key and argument in the order of the script's header.
    fn bind(&self, invocation: &mut Invocation);
}

/// An operation of which only what its script takes is asked: one among several.
pub trait ErasedOperation: Sync {
    /// The operation's one name.
    fn name(&self) -> &'static str;

    /// Names each key and argument in the order of the script's header.
    fn bind(&self, invocation: &mut Invocation);
}

impl<O: Operation> ErasedOperation for O {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn bind(&self, invocation: &mut Invocation) {
        Operation::bind(self, invocation);
    }
}

/// Several operations as one: all of them happen or none does.
pub(super) struct All<'a> {
    pub operations: &'a [&'a dyn ErasedOperation],
    /// Whether none does in any case.
    pub dry_run: bool,
}

/// What one run of an operation is for the frame.
pub(super) struct EncodedInvocation {
    pub keys: Strings,
    pub args: Strings,
    /// Empty without an idempotency key; else the last of the keys is that of its record.
    pub fingerprint: String,
    /// How many steps of a script it counts for.
    pub weight: usize,
}

impl EncodedInvocation {
    pub fn of(
        operation: &dyn ErasedOperation,
        script: &Script,
        context: &Context,
    ) -> EncodedInvocation {
        let once = context.idempotency_key.as_deref().filter(|_| !script.header.read_only);
        let mut invocation = Invocation::new(operation.name(), context, once.is_some());
        operation.bind(&mut invocation);
        script.header.check(&invocation);
        let weight = if script.header.alone { MAX_STEPS } else { invocation.weight };
        let fingerprint = invocation.finish(once);
        EncodedInvocation { keys: invocation.keys, args: invocation.args, fingerprint, weight }
    }

    /// Of an operation that takes keys alone.
    pub fn to_keys(names: &[String]) -> EncodedInvocation {
        let mut keys = Strings::default();
        names.iter().for_each(|key| keys.push(format_args!("{key}")));
        EncodedInvocation { keys, args: Strings::default(), fingerprint: String::new(), weight: 1 }
    }
}

impl All<'_> {
    /// The operation that runs operations.
    pub const NAME: &'static str = "atomic/run";
}

impl ErasedOperation for All<'_> {
    fn name(&self) -> &'static str {
        All::NAME
    }

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("dry_run", self.dry_run);
        for operation in self.operations {
            invocation.inner(*operation);
        }
    }
}

/// Where a call happens, and under which key it happens once.
#[derive(Debug, Clone)]
pub struct Context {
    /// All keys of a space share one hash tag.
    pub space: Id,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

/// A reply, and whether it is the answer to an earlier send of the same call.
#[derive(Debug)]
pub struct Completed<T> {
    /// What the operation answered.
    pub reply: T,
    /// Whether it happened before, under the same idempotency key.
    pub replayed: bool,
}

impl<T> Completed<T> {
    /// The same with another reply made of this one.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Completed<U> {
        Completed { reply: make(self.reply), replayed: self.replayed }
    }
}

/// Why an operation gave no reply.
#[derive(Debug)]
pub enum Error {
    /// It said no, and nothing has changed.
    Refused(Completed<Refusal>),
    /// The idempotency key was used for another call.
    KeyReused,
    /// It is more than one script can take.
    TooLarge {
        /// Of what: keys or arguments.
        what: &'static str,
        /// So many.
        count: usize,
        /// What it can take.
        most: usize,
    },
    /// It could not be asked, or its answer did not come.
    Failed(Failure),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Failed(failure)
    }
}

/// What a script says when it says no: its word, and the fields that its header names after it.
#[derive(Debug)]
pub struct Refusal {
    /// The word, and what it means.
    pub code: &'static Code,
    /// What a caller needs to act.
    pub members: Map<String, Value>,
}

/// The keys and arguments of one run, by name.
pub struct Invocation {
    prefix: String,
    keys: Strings,
    args: Strings,
    /// What tells one call from another, if somebody will ask: all that the caller chose.
    fingerprint: Option<Sha1>,
    weight: usize,
    #[cfg(debug_assertions)]
    names: [Vec<&'static str>; 2],
}

impl Invocation {
    fn new(operation: &str, context: &Context, fingerprinted: bool) -> Invocation {
        Invocation::with_prefix(
            format!("lockstep:{{{}}}:", context.space),
            operation,
            fingerprinted,
        )
    }

    fn with_prefix(prefix: String, operation: &str, fingerprinted: bool) -> Invocation {
        Invocation {
            prefix,
            keys: Strings::default(),
            args: Strings::default(),
            fingerprint: fingerprinted.then(|| Sha1::from(operation)),
            weight: 1,
            #[cfg(debug_assertions)]
            names: Default::default(),
        }
    }

    /// Binds the key of a thing: its kind, then what its owner calls it.
    pub fn key(&mut self, name: &'static str, kind: &str, id: impl Display) -> &mut Invocation {
        self.keys.push(format_args!("{}{kind}:{id}", self.prefix));
        self.named(0, name);
        let Invocation { keys, fingerprint, .. } = self;
        digest(fingerprint, keys.last());
        self
    }

    /// Binds an argument.
    pub fn arg(&mut self, name: &'static str, value: impl Display) -> &mut Invocation {
        self.args.push(format_args!("{value}"));
        self.named(1, name);
        let Invocation { args, fingerprint, .. } = self;
        digest(fingerprint, args.last());
        self
    }

    /// Binds a new id. A repeat mints another one, so it is no part of what is compared.
    pub fn generated_id(&mut self, name: &'static str, minted: GeneratedId) -> &mut Invocation {
        self.args.push(format_args!("{minted}"));
        self.named(1, name);
        self
    }

    /// Binds the key of a thing whose id is new.
    pub fn generated_key(
        &mut self,
        name: &'static str,
        kind: &str,
        minted: GeneratedId,
    ) -> &mut Invocation {
        self.derived_key(name, kind, minted)
    }

    /// Binds the key of a thing that was found by what the caller named: no part of what is
    /// compared, because a repeat may come when it can no longer be found.
    pub fn derived_key(
        &mut self,
        name: &'static str,
        kind: &str,
        id: impl Display,
    ) -> &mut Invocation {
        self.keys.push(format_args!("{}{kind}:{id}", self.prefix));
        self.named(0, name);
        self
    }

    /// Binds an argument that was found out and not given: no part of what is compared.
    pub fn derived_arg(&mut self, name: &'static str, value: impl Display) -> &mut Invocation {
        self.args.push(format_args!("{value}"));
        self.named(1, name);
        self
    }

    /// Binds a plain data key of the caller's own. Nothing of the service is under that prefix.
    pub fn data_key(&mut self, id: &Id) -> &mut Invocation {
        self.keys.push(format_args!("{}{id}", data_prefix(&self.prefix)));
        let Invocation { keys, fingerprint, .. } = self;
        digest(fingerprint, keys.last());
        self
    }

    /// Binds the next of as many words as the script will find.
    pub fn word(&mut self, bytes: impl AsRef<[u8]>) -> &mut Invocation {
        self.args.push_bytes(bytes.as_ref());
        let Invocation { args, fingerprint, .. } = self;
        digest(fingerprint, args.last());
        self
    }

    /// Binds another operation whole: its name, how many keys and arguments it has, and those.
    fn inner(&mut self, operation: &dyn ErasedOperation) {
        let fingerprinted = self.fingerprint.is_some();
        let mut invocation =
            Invocation::with_prefix(mem::take(&mut self.prefix), operation.name(), fingerprinted);
        operation.bind(&mut invocation);
        Library::embedded().script(operation.name()).header.check(&invocation);
        self.prefix = invocation.prefix;
        self.weight += invocation.weight;
        self.args.push(format_args!("{}", operation.name()));
        self.args.push(format_args!("{}", invocation.keys.len()));
        self.args.push(format_args!("{}", invocation.args.len()));
        self.keys.append(&invocation.keys);
        self.args.append(&invocation.args);
        if let Some(sha1) = invocation.fingerprint {
            digest(&mut self.fingerprint, sha1.digest().to_string().as_bytes());
        }
    }

    /// Ends the binding: the key of the idempotency record comes last. Answers the fingerprint.
    fn finish(&mut self, idempotency_key: Option<&str>) -> String {
        match (idempotency_key, self.fingerprint.take()) {
            (Some(key), Some(sha1)) => {
                self.keys.push(format_args!("{}once:{key}", self.prefix));
                sha1.digest().to_string()
            }
            _ => String::new(),
        }
    }

    #[cfg(debug_assertions)]
    fn named(&mut self, which: usize, name: &'static str) {
        self.names[which].push(name);
    }

    #[cfg(not(debug_assertions))]
    fn named(&mut self, _: usize, _: &'static str) {}

    #[cfg(debug_assertions)]
    pub(super) fn key_names(&self) -> &[&'static str] {
        &self.names[0]
    }

    #[cfg(debug_assertions)]
    pub(super) fn arg_names(&self) -> &[&'static str] {
        &self.names[1]
    }

    #[cfg(not(debug_assertions))]
    pub(super) fn key_names(&self) -> &[&'static str] {
        &[]
    }

    #[cfg(not(debug_assertions))]
    pub(super) fn arg_names(&self) -> &[&'static str] {
        &[]
    }
}

/// `lockstep-data:{space}:` for `lockstep:{space}:`.
pub(super) fn data_prefix(prefix: &str) -> String {
    format!("lockstep-data{}", prefix.trim_start_matches("lockstep"))
}

fn digest(fingerprint: &mut Option<Sha1>, text: &[u8]) {
    if let Some(sha1) = fingerprint {
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        sha1.update(&text.len().to_le_bytes());
        sha1.update(text);
    }
}

/// An id that the service mints: UUIDv7, so ids sort by time, behind a short prefix.
#[derive(Debug, Clone, Copy)]
pub struct GeneratedId {
    prefix: &'static str,
    uuid: Uuid,
}

impl GeneratedId {
    /// A new id; `prefix` is one of `tx_`, `hold_`, `res_`, `lease_`.
    pub fn new(prefix: &'static str) -> GeneratedId {
        GeneratedId { prefix, uuid: Uuid::now_v7() }
    }
}

impl Display for GeneratedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, self.uuid.simple())
    }
}

/// Several strings in one allocation.
#[derive(Debug, Default)]
pub(super) struct Strings {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    fn push(&mut self, text: fmt::Arguments<'_>) {
        // Writing into a Vec cannot fail.
        let _ = self.text.write_fmt(text);
        self.ends.push(self.text.len());
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        self.ends.push(self.text.len());
    }

    fn last(&self) -> &[u8] {
        let start = self.ends.iter().rev().nth(1).copied().unwrap_or(0);
        &self.text[start..]
    }

    fn append(&mut self, other: &Strings) {
        let start = self.text.len();
        self.text.extend_from_slice(&other.text);
        self.ends.extend(other.ends.iter().map(|end| start + end));
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let text = &self.text[start..end];
            start = end;
            text
        })
    }
}
