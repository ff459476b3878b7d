//! The operation `scripts/compile`: has the server compile a source, and runs nothing. `source` calls it.

use serde::Deserialize;

use super::CODES;
use crate::{
    store::{Invocation, Operation, ScriptValue},
    types::Code,
};

/// A source to compile, without its line `#!lua`.
pub struct Compilation<'a>(pub &'a str);

/// The message of the compiler, or nothing.
#[derive(Debug, Deserialize)]
pub struct CompilationReply {
    message: ScriptValue,
}

impl CompilationReply {
    /// The message, empty where the source compiles. It quotes the source, and may cut a character in two.
    pub fn message(self) -> String {
        match self.message {
            ScriptValue::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            _ => String::new(),
        }
    }
}

impl Operation for Compilation<'_> {
    const NAME: &'static str = "scripts/compile";
    const CODES: &'static [Code] = CODES;
    type Reply = CompilationReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("source", self.0);
    }
}
