//! Invocations: the keys and arguments of one run of an operation, encoded for the runner. An operation
//! fills one in `bind`; the batcher sends it.

use std::{
    fmt::{self, Display},
    io::Write,
    mem,
};

use sha1_smol::Sha1;
use uuid::Uuid;

use super::{Context, ErasedOperation, Guard, Library, Script, batcher::MAX_STEPS, script::GUARD};
use crate::types::Id;

/// The keys and arguments of one run, bound by name.
///
/// Keys look like `lockstep:{space}:<kind>:<id>`, for example `lockstep:{main}:account:alice`.
///
/// What the caller chose goes into the fingerprint, which tells a repeat under the same idempotency key
/// from another call. Ids that the service generates and keys that it looked up are left out: they may
/// differ in a repeat.
pub struct Invocation {
    prefix: String,
    keys: PackedStrings,
    args: PackedStrings,
    /// SHA-1 of the operation's name and all values that the caller chose; `None` without an
    /// idempotency key.
    fingerprint: Option<Sha1>,
    weight: usize,
    #[cfg(debug_assertions)]
    names: BoundNames,
}

/// The names that were bound, for the check against the header in debug builds.
#[cfg(debug_assertions)]
#[derive(Default)]
pub(super) struct BoundNames {
    pub keys: Vec<&'static str>,
    pub args: Vec<&'static str>,
}

impl Invocation {
    fn new(prefix: String, operation: &str, fingerprinted: bool) -> Invocation {
        Invocation {
            prefix,
            keys: PackedStrings::default(),
            args: PackedStrings::default(),
            fingerprint: fingerprinted.then(|| Sha1::from(operation)),
            weight: 1,
            #[cfg(debug_assertions)]
            names: BoundNames::default(),
        }
    }

    /// Binds the key `lockstep:{space}:<kind>:<id>` of something the caller named.
    pub fn key(&mut self, name: &'static str, kind: &str, id: impl Display) -> &mut Invocation {
        self.derived_key(name, kind, id);
        update_digest(&mut self.fingerprint, self.keys.last());
        self
    }

    /// Binds a key that the service looked up. It is left out of the fingerprint, so that a replay is
    /// recognised after the record that led to the key has expired.
    pub fn derived_key(
        &mut self,
        name: &'static str,
        kind: &str,
        id: impl Display,
    ) -> &mut Invocation {
        self.keys.push(format_args!("{}{kind}:{id}", self.prefix));
        self.name_key(name);
        self
    }

    /// Binds the key of a record whose id is generated for this run.
    pub fn generated_key(
        &mut self,
        name: &'static str,
        kind: &str,
        id: GeneratedId,
    ) -> &mut Invocation {
        self.derived_key(name, kind, id)
    }

    /// Binds the caller's data key `lockstep-data:{space}:<id>`. No record of the service has that
    /// prefix.
    pub fn data_key(&mut self, id: &Id) -> &mut Invocation {
        self.keys.push(format_args!("{}{id}", data_prefix(&self.prefix)));
        update_digest(&mut self.fingerprint, self.keys.last());
        self
    }

    /// Binds an argument that the caller chose.
    pub fn arg(&mut self, name: &'static str, value: impl Display) -> &mut Invocation {
        self.derived_arg(name, value);
        update_digest(&mut self.fingerprint, self.args.last());
        self
    }

    /// Binds an argument that the service found out. It is left out of the fingerprint.
    pub fn derived_arg(&mut self, name: &'static str, value: impl Display) -> &mut Invocation {
        self.args.push(format_args!("{value}"));
        self.name_arg(name);
        self
    }

    /// Binds an id that is generated for this run.
    pub fn generated_id(&mut self, name: &'static str, id: GeneratedId) -> &mut Invocation {
        self.derived_arg(name, id)
    }

    /// Binds bytes that the service found out, as [`Invocation::derived_arg`] binds text.
    pub fn derived_bytes(&mut self, name: &'static str, bytes: &[u8]) -> &mut Invocation {
        self.args.push_bytes(bytes);
        self.name_arg(name);
        self
    }

    /// Binds bytes that the caller chose, behind bytes of the service that are no part of the fingerprint.
    pub fn stamped_arg(
        &mut self,
        name: &'static str,
        stamp: &[u8],
        bytes: &[u8],
    ) -> &mut Invocation {
        self.args.push_joined(stamp, bytes);
        update_digest(&mut self.fingerprint, bytes);
        self.name_arg(name);
        self
    }

    /// Binds bytes that the caller chose, as [`Invocation::arg`] binds text.
    pub fn bytes_arg(&mut self, name: &'static str, bytes: &[u8]) -> &mut Invocation {
        self.stamped_arg(name, &[], bytes)
    }

    /// Binds an argument without a name: one of a list whose length the script reads from the
    /// arguments before it.
    pub fn raw_arg(&mut self, bytes: impl AsRef<[u8]>) -> &mut Invocation {
        self.args.push_bytes(bytes.as_ref());
        update_digest(&mut self.fingerprint, self.args.last());
        self
    }

    /// Binds a whole operation: its keys, and as arguments its name, its numbers of keys and arguments, and
    /// its arguments.
    pub(super) fn nested(&mut self, operation: &dyn ErasedOperation) {
        let prefix = mem::take(&mut self.prefix);
        let mut inner = Invocation::new(prefix, operation.name(), self.fingerprint.is_some());
        operation.bind(&mut inner);
        inner.check(&Library::embedded().script(operation.name()));
        self.prefix = inner.prefix;
        self.weight += inner.weight;
        self.args.push(format_args!("{}", operation.name()));
        self.args.push(format_args!("{}", inner.keys.len()));
        self.args.push(format_args!("{}", inner.args.len()));
        self.keys.append(&inner.keys);
        self.args.append(&inner.args);
        if let Some(sha1) = inner.fingerprint {
            update_digest(&mut self.fingerprint, sha1.digest().to_string().as_bytes());
        }
    }

    /// Puts the invocation behind guards: their keys come before its own, and their arguments before its
    /// name, its numbers of keys and arguments, and its arguments. They are no part of the fingerprint: a
    /// call that is repeated with the token of a new lease is the same call.
    fn behind_guards(mut self, operation: &'static str, guards: &[Guard]) -> Invocation {
        let (keys, args) = (mem::take(&mut self.keys), mem::take(&mut self.args));
        self.args.push(format_args!("{}", guards.len()));
        for Guard { lock, fencing_token } in guards {
            self.derived_key("lock_key", "lock", lock);
            self.args.push(format_args!("{lock}"));
            self.args.push(format_args!("{fencing_token}"));
        }
        self.args.push(format_args!("{operation}"));
        self.args.push(format_args!("{}", keys.len()));
        self.args.push(format_args!("{}", args.len()));
        self.keys.append(&keys);
        self.args.append(&args);
        self
    }

    /// Adds the key of the idempotency record, the last one, and returns the fingerprint; without an
    /// idempotency key it adds nothing and returns an empty string.
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
    fn check(&self, script: &Script) {
        script.header.check(&self.names);
    }

    #[cfg(not(debug_assertions))]
    fn check(&self, _: &Script) {}

    #[cfg(debug_assertions)]
    fn name_key(&mut self, name: &'static str) {
        self.names.keys.push(name);
    }

    #[cfg(debug_assertions)]
    fn name_arg(&mut self, name: &'static str) {
        self.names.args.push(name);
    }

    #[cfg(not(debug_assertions))]
    fn name_key(&mut self, _: &'static str) {}

    #[cfg(not(debug_assertions))]
    fn name_arg(&mut self, _: &'static str) {}
}

/// An invocation in the form in which it is sent. `of` makes it, and `RunnerArgs::encode` writes it.
pub(super) struct EncodedInvocation {
    /// The operation that the runner is to run: its own, or [`GUARD`], which runs it.
    pub step: &'static str,
    pub keys: PackedStrings,
    pub args: PackedStrings,
    /// Hexadecimal SHA-1, or empty without an idempotency key. With one, the last key is that of the
    /// idempotency record.
    pub fingerprint: String,
    /// The caller's key as records have it, or empty without one and for a read.
    pub actor: String,
    /// The number of steps this counts for against [`MAX_STEPS`].
    pub weight: usize,
}

impl EncodedInvocation {
    /// Binds an operation whose script is `script`. Reads have no idempotency record.
    pub fn of(operation: &dyn ErasedOperation, script: &Script, context: &Context) -> Self {
        let idempotency_key =
            context.idempotency_key.as_deref().filter(|_| !script.header.read_only);
        let prefix = format!("lockstep:{{{}}}:", context.space);
        let mut invocation = Invocation::new(prefix, operation.name(), idempotency_key.is_some());
        operation.bind(&mut invocation);
        invocation.check(script);
        let weight = if script.header.own_script { MAX_STEPS } else { invocation.weight };
        let mut step = script.name;
        if !context.guards.is_empty() {
            step = GUARD;
            invocation = invocation.behind_guards(script.name, &context.guards);
        }
        let fingerprint = invocation.finish(idempotency_key);
        let Invocation { keys, args, .. } = invocation;
        let writes = !script.header.read_only;
        let principal = context.principal.as_deref().filter(|_| writes);
        let actor = principal.map_or_else(String::new, |principal| principal.actor().to_owned());
        EncodedInvocation { step, keys, args, fingerprint, actor, weight }
    }

    /// Binds a prerequisite, which takes keys and no arguments.
    pub fn of_keys(step: &'static str, keys: &[String]) -> Self {
        let mut packed = PackedStrings::default();
        keys.iter().for_each(|key| packed.push_bytes(key.as_bytes()));
        let (args, fingerprint, actor) = (PackedStrings::default(), String::new(), String::new());
        EncodedInvocation { step, keys: packed, args, fingerprint, actor, weight: 1 }
    }

    /// The bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.args.bytes() + self.fingerprint.len() + self.actor.len()
    }
}

/// The prefix of a space's data keys, `lockstep-data:{space}:`, made of the prefix of its other keys.
pub(super) fn data_prefix(prefix: &str) -> String {
    format!("lockstep-data{}", prefix.trim_start_matches("lockstep"))
}

fn update_digest(fingerprint: &mut Option<Sha1>, text: &[u8]) {
    if let Some(sha1) = fingerprint {
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        sha1.update(&text.len().to_le_bytes());
        sha1.update(text);
    }
}

/// An id that the service generates: a short prefix and a UUIDv7 (RFC 9562) without hyphens, so that
/// ids sort by time. Example: `tx_0199f6c28f7a7c319d4e52a1b7f0c6aa`.
#[derive(Debug, Clone, Copy)]
pub struct GeneratedId {
    prefix: &'static str,
    uuid: Uuid,
}

impl GeneratedId {
    /// Generates an id; `prefix` is one of `tx_`, `hold_`, `res_`, `lease_`.
    pub fn new(prefix: &'static str) -> GeneratedId {
        GeneratedId { prefix, uuid: Uuid::now_v7() }
    }

    /// The id that has these 16 bytes, which [`GeneratedId::bytes`] has given.
    pub fn of_bytes(prefix: &'static str, bytes: [u8; 16]) -> GeneratedId {
        GeneratedId { prefix, uuid: Uuid::from_bytes(bytes) }
    }

    /// The 16 bytes of the UUID of an id with this prefix; `None` where the service cannot have generated it.
    pub fn bytes_of(id: &Id, prefix: &str) -> Option<[u8; 16]> {
        let digits = id.as_str().strip_prefix(prefix).filter(|digits| digits.len() == 32)?;
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks_exact(2).map(byte).collect();
        bytes?.try_into().ok()
    }

    /// The 16 bytes of the UUID.
    pub fn bytes(self) -> [u8; 16] {
        self.uuid.into_bytes()
    }
}

impl Display for GeneratedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, self.uuid.simple())
    }
}

/// Several strings in one allocation.
#[derive(Debug, Default)]
pub(super) struct PackedStrings {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl PackedStrings {
    fn push(&mut self, text: fmt::Arguments<'_>) {
        // Writing into a Vec cannot fail.
        let _ = self.text.write_fmt(text);
        self.ends.push(self.text.len());
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.push_joined(&[], bytes);
    }

    fn push_joined(&mut self, head: &[u8], tail: &[u8]) {
        self.text.reserve(head.len() + tail.len());
        self.text.extend_from_slice(head);
        self.text.extend_from_slice(tail);
        self.ends.push(self.text.len());
    }

    fn last(&self) -> &[u8] {
        let start = self.ends.iter().rev().nth(1).copied().unwrap_or(0);
        &self.text[start..]
    }

    fn append(&mut self, other: &PackedStrings) {
        let start = self.text.len();
        self.text.extend_from_slice(&other.text);
        self.ends.extend(other.ends.iter().map(|end| start + end));
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn bytes(&self) -> usize {
        self.text.len() + size_of_val(self.ends.as_slice())
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
