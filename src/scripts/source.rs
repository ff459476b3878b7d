//! The source of a script: what is checked of it, and its preparation for the server. `put`, `validate` and
//! `run` call it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{codes, compile::Compilation, tokens::for_loading};
use crate::{
    api::Problem,
    store::{Context, Failure, Store, UserScript},
};

/// The most bytes of a source.
pub const MAX_SOURCE: usize = 128 * 1024;

/// The most prepared scripts that a process keeps.
const MAX_PREPARED: usize = 256;

/// Something that a caller should know of a place in a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "line": 2, "column": 1, "severity": "warning", "rule": "global-assignment",
    "message": "`total` is no local variable, and the server refuses new global ones"
}))]
pub struct Diagnostic {
    /// Line in the source, from 1.
    pub line: usize,
    /// Column in the line, from 1; missing where only the line is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    pub column: Option<usize>,
    /// Weight of the diagnostic.
    pub severity: Severity,
    /// Rule that the place breaks; `syntax` for what the server cannot compile.
    #[schema(value_type = String, example = "global-assignment")]
    pub rule: &'static str,
    /// Sentence without its end that says what is wrong.
    pub message: String,
}

/// The weight of a diagnostic. An `error` keeps a script from being registered, and a `warning` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The script cannot run.
    Error,
    /// The script may not do what was meant.
    Warning,
}

/// A source that the server has compiled.
pub struct PreparedScript {
    /// The source as it was given.
    pub source: String,
    /// The script in the form in which the server runs it.
    pub script: UserScript,
    /// The number of the last line of the source in that form, in which it begins with the second line.
    pub last_line: usize,
    /// True if the server refuses it every write.
    pub read_only: bool,
}

impl PreparedScript {
    /// The line of this number as it was given, without the blanks around it.
    pub fn line(&self, number: u64) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.source.lines().nth(index).map(str::trim)
    }
}

/// The SHA-256 of a text, in hexadecimal digits.
pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a source without its line `#!lua`, and whether that line says that the script reads only. The line stays
/// as an empty one, so that all others keep their numbers.
///
/// # Errors
///
/// `validation_failed` where the source is too long or has what Lua does not take, or where its first line has a
/// flag that a script here does not have.
pub fn without_shebang(source: &str) -> Result<(&str, bool), Problem> {
    if source.trim().is_empty() || source.len() > MAX_SOURCE {
        let detail = format!("A source has 1 to {MAX_SOURCE} bytes.");
        return Err(Problem::validation("/source", detail));
    }
    // Lua would read a source that begins with the escape as compiled code.
    if source.contains(['\0', '\u{1b}']) {
        let detail = "A source has no characters with the codes 0 and 27.";
        return Err(Problem::validation("/source", detail));
    }
    let Some(rest) = source.strip_prefix("#!") else { return Ok((source, false)) };
    let end = rest.find('\n').unwrap_or(rest.len());
    let mut words = rest[..end].split_whitespace();
    let is_lua = words.next() == Some("lua");
    let flags: Vec<&str> = words.collect();
    match flags.as_slice() {
        [] if is_lua => Ok((&rest[end..], false)),
        ["flags=no-writes"] if is_lua => Ok((&rest[end..], true)),
        _ => {
            let detail = "The first line is `#!lua` or `#!lua flags=no-writes`, or no such line.";
            Err(Problem::validation("/source", detail))
        }
    }
}

/// Has the server compile a source, and then as it is loaded, which is returned; or what is wrong with it. Only a source
/// that compiles is read here, because only there the lexer is sure of what it reads.
///
/// # Errors
///
/// The failure of the store.
pub async fn compile(
    store: &Store,
    context: &Context,
    code: &str,
) -> Result<Result<String, Diagnostic>, Problem> {
    let context = Context::of_space(context.space.clone());
    let message = store.run(&Compilation(code), &context).await?.reply.message();
    if !message.is_empty() {
        return Ok(Err(syntax_diagnostic(&message)));
    }
    let loaded = for_loading(code);
    let message = store.run(&Compilation(&loaded), &context).await?.reply.message();
    Ok(if message.is_empty() { Ok(loaded) } else { Err(syntax_diagnostic(&message)) })
}

/// Reads the message of Lua's compiler: `user_script:3: '=' expected near 'x'`.
fn syntax_diagnostic(message: &str) -> Diagnostic {
    let place = message.strip_prefix("user_script:").and_then(|rest| rest.split_once(": "));
    let (line, message) =
        place.and_then(|(line, rest)| Some((line.parse().ok()?, rest))).unwrap_or((1, message));
    let message = message.to_owned();
    Diagnostic { line, column: None, severity: Severity::Error, rule: "syntax", message }
}

/// The place at which a source did not compile within the script around it; `None` for every other failure.
pub fn syntax_of_load(failure: &Failure) -> Option<Diagnostic> {
    let text = failure.to_string();
    let (_, message) = text.split_once("user_script:")?;
    let diagnostic = syntax_diagnostic(&format!("user_script:{message}"));
    // The source begins with the second line of that script.
    Some(Diagnostic { line: diagnostic.line.saturating_sub(1).max(1), ..diagnostic })
}

/// The problem of a source that does not compile.
pub fn invalid(diagnostics: &[Diagnostic]) -> Problem {
    let diagnostics = serde_json::to_value(diagnostics).unwrap_or(Value::Null);
    Problem::refused(codes::SCRIPT_INVALID, [("diagnostics", diagnostics)])
}

/// Prepares a source for the server, which compiles it and runs nothing. A process does it once for a source.
///
/// # Errors
///
/// `validation_failed` or `script_invalid`, or the failure of the store.
pub async fn prepare(
    store: &Store,
    context: &Context,
    source: &str,
    read_only: bool,
) -> Result<Arc<PreparedScript>, Problem> {
    let (code, reads_only) = without_shebang(source)?;
    let read_only = read_only || reads_only;
    let digest = sha256(source);
    if let Some(known) = known(&digest, read_only) {
        return Ok(known);
    }
    let compiled = compile(store, context, code).await?;
    let loaded = compiled.map_err(|diagnostic| invalid(&[diagnostic]))?;
    let script = Arc::new(PreparedScript {
        source: source.to_owned(),
        script: UserScript::new(&loaded, read_only),
        last_line: loaded.matches('\n').count() + 2,
        read_only,
    });
    let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    if prepared.len() >= MAX_PREPARED {
        prepared.clear();
    }
    prepared.insert((digest, read_only), Arc::clone(&script));
    Ok(script)
}

/// Scripts that this process has prepared, by the SHA-256 of their sources and whether they read only.
static PREPARED: LazyLock<Mutex<PreparedScripts>> = LazyLock::new(Mutex::default);

type PreparedScripts = HashMap<(String, bool), Arc<PreparedScript>>;

/// The prepared script of a source with this SHA-256, if the process has it.
pub fn known(digest: &str, read_only: bool) -> Option<Arc<PreparedScript>> {
    let prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    prepared.get(&(digest.to_owned(), read_only)).map(Arc::clone)
}
