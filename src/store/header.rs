use std::collections::BTreeMap;

use serde::Serialize;

use super::Invocation;

/// The comment that opens every script, read as data: see `migrations-lua/README.md`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    /// What the operation does, in a sentence.
    pub summary: String,
    /// Whether it only reads; Redis then refuses it every write.
    pub read_only: bool,
    /// Whether only the service itself runs it, so that it is no call of the document.
    pub internal: bool,
    /// Whether it writes by itself, and so has a script to itself.
    pub alone: bool,
    /// Whether it runs operations that it is given, all of them in its own script.
    pub runs_operations: bool,
    /// The names of its keys.
    pub keys: Names,
    /// Which of its keys the frame loads.
    #[serde(skip)]
    pub loaded: Loaded,
    /// The names of its arguments.
    pub args: Names,
    /// By the word that a reply starts with, the fields after it.
    pub replies: BTreeMap<String, Vec<Field>>,
}

/// Names in their order: those that come once, then those that come again for every line.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names {
    /// These come once.
    pub once: Vec<String>,
    /// These come after them, any number of times.
    pub each: Vec<String>,
}

/// Positions of the keys, from 1, that a record may be under: not logs, sets or hashes, and not ids
/// that are only now given away. Only these are looked up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Among the keys that come once.
    pub once: Vec<usize>,
    /// Among those of each line.
    pub each: Vec<usize>,
}

/// One position of a reply.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// What it is called in the answer.
    pub name: String,
    /// How its value is written.
    pub kind: Kind,
}

/// How a script writes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A word, or a whole number.
    Plain,
    /// `name:json`: JSON text.
    Json,
    /// `name:instant`: milliseconds since 1970.
    Instant,
}

impl Header {
    /// Reads the header of a script; `None` where it has none.
    pub fn parse(source: &str) -> Option<Header> {
        let (comment, _) = source.strip_prefix("--[[")?.split_once("]]")?;
        let mut header = Header::default();
        let mut section = "";
        for line in comment.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (section, words.as_slice()) {
                (_, []) => {}
                (_, ["READ", "ONLY"]) => header.read_only = true,
                (_, ["INTERNAL"]) => header.internal = true,
                (_, ["ALONE"]) => header.alone = true,
                (_, ["RUNS", "OPERATIONS"]) => header.runs_operations = true,
                (_, [title @ ("KEYS" | "ARGV" | "REPLY")]) => section = title,
                ("", text) => {
                    let separator = if header.summary.is_empty() { "" } else { " " };
                    header.summary += separator;
                    header.summary += &text.join(" ");
                }
                ("KEYS", ["*", name, what @ ..]) => {
                    header.keys.each.push((*name).to_owned());
                    if is_record(what) {
                        header.loaded.each.push(header.keys.each.len());
                    }
                }
                ("KEYS", [name, what @ ..]) => {
                    header.keys.once.push((*name).to_owned());
                    if is_record(what) {
                        header.loaded.once.push(header.keys.once.len());
                    }
                }
                ("ARGV", ["*", name, ..]) => header.args.each.push((*name).to_owned()),
                ("ARGV", [name, ..]) => header.args.once.push((*name).to_owned()),
                (_, [word, fields @ ..]) => {
                    let fields =
                        fields.iter().map(|field| Field::parse(field)).collect::<Option<_>>()?;
                    header.replies.insert((*word).to_owned(), fields);
                }
            }
        }
        Some(header)
    }

    /// The words that the operation can refuse with.
    pub fn refusals(&self) -> impl Iterator<Item = &str> {
        self.replies.keys().map(String::as_str).filter(|word| *word != "ok")
    }

    /// What Rust binds and what Lua unpacks must be the same things in the same order.
    pub(super) fn check(&self, invocation: &Invocation) {
        debug_assert!(
            self.keys.match_names(invocation.key_names()),
            "{:?}",
            invocation.key_names()
        );
        debug_assert!(
            self.args.match_names(invocation.arg_names()),
            "{:?}",
            invocation.arg_names()
        );
    }
}

/// Whether there can be something to load under a key, by the words that say what it is.
fn is_record(what: &[&str]) -> bool {
    !matches!(what, ["log" | "hash", "of", ..] | ["sorted", "set", ..] | ["new", ..])
}

impl Names {
    fn match_names(&self, bound: &[&str]) -> bool {
        let Some((once, each)) = bound.split_at_checked(self.once.len()) else { return false };
        once == self.once
            && if self.each.is_empty() {
                each.is_empty()
            } else {
                each.chunks(self.each.len()).all(|line| line == self.each)
            }
    }
}

impl Field {
    fn parse(text: &str) -> Option<Field> {
        let (name, kind) = match text.split_once(':') {
            None => (text, Kind::Plain),
            Some((name, "json")) => (name, Kind::Json),
            Some((name, "instant")) => (name, Kind::Instant),
            Some(_) => return None,
        };
        Some(Field { name: name.to_owned(), kind })
    }
}
