use std::{
    fmt::{self, Display},
    io::Write,
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha1_smol::Sha1;
use uuid::Uuid;

use super::Failure;
use crate::types::{Code, Id};

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
    fn bind(&self, call: &mut Call);
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
pub struct Done<T> {
    /// What the operation answered.
    pub reply: T,
    /// Whether it happened before, under the same idempotency key.
    pub replayed: bool,
}

impl<T> Done<T> {
    /// The same with another reply made of this one.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Done<U> {
        Done { reply: make(self.reply), replayed: self.replayed }
    }
}

/// Why an operation gave no reply.
#[derive(Debug)]
pub enum Error {
    /// It said no, and nothing has changed.
    Refused(Done<Refusal>),
    /// The idempotency key was used for another call.
    KeyReused,
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
pub struct Call {
    prefix: String,
    keys: Strings,
    args: Strings,
    /// What tells one call from another, if somebody will ask: all that the caller chose.
    fingerprint: Option<Sha1>,
    #[cfg(debug_assertions)]
    names: [Vec<&'static str>; 2],
}

impl Call {
    pub(super) fn new(operation: &str, context: &Context, fingerprinted: bool) -> Call {
        Call {
            prefix: format!("lockstep:{{{}}}:", context.space),
            keys: Strings::default(),
            args: Strings::default(),
            fingerprint: fingerprinted.then(|| Sha1::from(operation)),
            #[cfg(debug_assertions)]
            names: Default::default(),
        }
    }

    /// Binds the key of a thing: its kind, then what its owner calls it.
    pub fn key(&mut self, name: &'static str, kind: &str, id: impl Display) -> &mut Call {
        self.keys.push(format_args!("{}{kind}:{id}", self.prefix));
        self.named(0, name);
        let Call { keys, fingerprint, .. } = self;
        digest(fingerprint, keys.last());
        self
    }

    /// Binds an argument.
    pub fn arg(&mut self, name: &'static str, value: impl Display) -> &mut Call {
        self.args.push(format_args!("{value}"));
        self.named(1, name);
        let Call { args, fingerprint, .. } = self;
        digest(fingerprint, args.last());
        self
    }

    /// Binds a new id. A repeat mints another one, so it is no part of what is compared.
    pub fn mint(&mut self, name: &'static str, minted: Minted) -> &mut Call {
        self.args.push(format_args!("{minted}"));
        self.named(1, name);
        self
    }

    /// Binds the key of a thing whose id is new.
    pub fn minted_key(&mut self, name: &'static str, kind: &str, minted: Minted) -> &mut Call {
        self.found_key(name, kind, minted)
    }

    /// Binds the key of a thing that was found by what the caller named: no part of what is
    /// compared, because a repeat may come when it can no longer be found.
    pub fn found_key(&mut self, name: &'static str, kind: &str, id: impl Display) -> &mut Call {
        self.keys.push(format_args!("{}{kind}:{id}", self.prefix));
        self.named(0, name);
        self
    }

    /// Ends the binding: keys, arguments, and the fingerprint with its record's key at the end.
    pub(super) fn finish(mut self, idempotency_key: Option<&str>) -> (Strings, Strings, String) {
        let mut digits = String::new();
        if let (Some(key), Some(sha1)) = (idempotency_key, self.fingerprint) {
            self.keys.push(format_args!("{}once:{key}", self.prefix));
            digits = sha1.digest().to_string();
        }
        (self.keys, self.args, digits)
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

fn digest(fingerprint: &mut Option<Sha1>, text: &[u8]) {
    if let Some(sha1) = fingerprint {
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        sha1.update(&text.len().to_le_bytes());
        sha1.update(text);
    }
}

/// An id that the service mints: UUIDv7, so ids sort by time, behind a short prefix.
#[derive(Debug, Clone, Copy)]
pub struct Minted {
    prefix: &'static str,
    uuid: Uuid,
}

impl Minted {
    /// A new id; `prefix` is one of `tx_`, `hold_`, `res_`, `lease_`.
    pub fn new(prefix: &'static str) -> Minted {
        Minted { prefix, uuid: Uuid::now_v7() }
    }
}

impl Display for Minted {
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

    fn last(&self) -> &[u8] {
        let start = self.ends.iter().rev().nth(1).copied().unwrap_or(0);
        &self.text[start..]
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn from_keys(keys: &[String]) -> Strings {
        let mut strings = Strings::default();
        keys.iter().for_each(|key| strings.push(format_args!("{key}")));
        strings
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
