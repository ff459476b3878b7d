//! Headers: the comment that opens every script, read as data. The loader, the reply decoder, the OpenAPI
//! document and `tests/contracts.rs` read it; `migrations-lua/README.md` describes it.

use std::collections::BTreeMap;

use serde::Serialize;

/// The header of a script.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    /// One sentence that says what the operation does.
    pub summary: String,
    /// `READ ONLY`: the operation writes nothing, and Redis refuses it every write.
    pub read_only: bool,
    /// `INTERNAL`: only the service itself runs it, so it is no operation of the OpenAPI document.
    pub internal: bool,
    /// `AWAITS REPLICAS`: its answer is of use only if it outlasts a failover, so it is given when a replica has
    /// what was written, wherever there is one.
    #[serde(skip)]
    pub awaits_replicas: bool,
    /// `SAFE TO REPEAT`: a second run with the same arguments changes nothing and answers as the first, so it is sent
    /// again after a lost reply.
    pub safe_to_repeat: bool,
    /// `OWN SCRIPT`: it writes by itself, so it never shares a script with another step.
    pub own_script: bool,
    /// `RUNS OPERATIONS`: it runs operations that it is given. All commands are in its script.
    pub runs_operations: bool,
    /// `RUNS ONE OPERATION`: it runs an operation that it is given, and stands in its script.
    pub runs_one_operation: bool,
    /// The names of its keys.
    pub keys: Params,
    /// The types of its keys, in the order of [`Header::keys`].
    #[serde(skip)]
    pub key_types: KeyTypes,
    /// The names of its arguments.
    pub args: Params,
    /// The fields of each reply, by the code that the reply begins with: `ok` or a problem code.
    pub replies: BTreeMap<String, Vec<Field>>,
}

/// Names in their order: the fixed ones, then those that are repeated for every line.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Params {
    /// Names that come once.
    pub fixed: Vec<String>,
    /// Names that come after the fixed ones, once for every line. The header marks them with a star.
    pub repeated: Vec<String>,
}

/// The types of an operation's keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeyTypes {
    /// The types of the fixed keys.
    pub fixed: Vec<KeyType>,
    /// The types of the keys of each line.
    pub repeated: Vec<KeyType>,
}

/// The type of a key, the column after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `record`: one string. The runner loads records before the steps run.
    Record,
    /// `log`: a list.
    Log,
    /// `zset`: a sorted set.
    Zset,
    /// `hash`: a hash.
    Hash,
    /// `new`: a record whose id is generated for this run, so there is nothing to load.
    New,
    /// `mixed`: a record or a collection, by an argument. It is loaded like a record.
    Mixed,
}

impl KeyType {
    fn parse(word: &str) -> Option<KeyType> {
        Some(match word {
            "record" => KeyType::Record,
            "log" => KeyType::Log,
            "zset" => KeyType::Zset,
            "hash" => KeyType::Hash,
            "new" => KeyType::New,
            "mixed" => KeyType::Mixed,
            _ => return None,
        })
    }

    /// True if the runner loads the key's text before the steps run.
    pub fn is_loaded(self) -> bool {
        matches!(self, KeyType::Record | KeyType::Mixed)
    }
}

/// One position of a reply.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The name of the field in the answer.
    pub name: String,
    /// The way in which the script writes its value.
    pub kind: FieldKind,
}

/// The way in which a script writes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Text or a whole number.
    Plain,
    /// `name:json`: JSON text.
    Json,
    /// `name:instant`: milliseconds since 1970.
    Instant,
}

impl Header {
    /// Reads the header of a script.
    ///
    /// # Errors
    ///
    /// A sentence, where there is no header or one of its lines is not understood.
    pub fn parse(source: &str) -> Result<Header, String> {
        let comment = source.strip_prefix("--[[").and_then(|rest| rest.split_once("]]"));
        let (comment, _) = comment.ok_or("the file does not begin with a comment --[[ ... ]]")?;
        let mut header = Header::default();
        let mut section = "";
        for line in comment.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [title @ ("KEYS" | "ARGV" | "REPLY")] => section = title,
                words if header.set_flag(words) => {}
                words => header
                    .read_line(section, words)
                    .ok_or_else(|| format!("the header's line {line:?} is not understood"))?,
            }
        }
        Ok(header)
    }

    fn set_flag(&mut self, words: &[&str]) -> bool {
        match words {
            ["READ", "ONLY"] => self.read_only = true,
            ["INTERNAL"] => self.internal = true,
            ["AWAITS", "REPLICAS"] => self.awaits_replicas = true,
            ["SAFE", "TO", "REPEAT"] => self.safe_to_repeat = true,
            ["OWN", "SCRIPT"] => self.own_script = true,
            ["RUNS", "ONE", "OPERATION"] => self.runs_one_operation = true,
            ["RUNS", "OPERATIONS"] => self.runs_operations = true,
            _ => return false,
        }
        true
    }

    fn read_line(&mut self, section: &str, words: &[&str]) -> Option<()> {
        match (section, words) {
            ("", text) => {
                let separator = if self.summary.is_empty() { "" } else { " " };
                self.summary += separator;
                self.summary += &text.join(" ");
            }
            ("KEYS", ["*", name, key_type, ..]) => {
                self.keys.repeated.push((*name).to_owned());
                self.key_types.repeated.push(KeyType::parse(key_type)?);
            }
            ("KEYS", [name, key_type, ..]) => {
                self.keys.fixed.push((*name).to_owned());
                self.key_types.fixed.push(KeyType::parse(key_type)?);
            }
            ("ARGV", ["*", name, ..]) => self.args.repeated.push((*name).to_owned()),
            ("ARGV", [name, ..]) => self.args.fixed.push((*name).to_owned()),
            ("REPLY", [code, fields @ ..]) => {
                let fields =
                    fields.iter().map(|field| Field::parse(field)).collect::<Option<_>>()?;
                self.replies.insert((*code).to_owned(), fields);
            }
            _ => return None,
        }
        Some(())
    }

    /// The problem codes that the operation can refuse with.
    pub fn refusals(&self) -> impl Iterator<Item = &str> {
        self.replies.keys().map(String::as_str).filter(|code| *code != "ok")
    }

    /// Panics where Rust binds other names than the header has, or in another order.
    #[cfg(debug_assertions)]
    pub(in crate::store) fn check(&self, bound: &crate::store::invocation::BoundNames) {
        debug_assert!(self.keys.match_names(&bound.keys), "{:?}", bound.keys);
        debug_assert!(self.args.match_names(&bound.args), "{:?}", bound.args);
    }
}

impl Params {
    #[cfg(debug_assertions)]
    fn match_names(&self, bound: &[&str]) -> bool {
        let Some((fixed, repeated)) = bound.split_at_checked(self.fixed.len()) else {
            return false;
        };
        fixed == self.fixed
            && if self.repeated.is_empty() {
                repeated.is_empty()
            } else {
                repeated.chunks(self.repeated.len()).all(|line| line == self.repeated)
            }
    }
}

impl Field {
    fn parse(text: &str) -> Option<Field> {
        let (name, kind) = match text.split_once(':') {
            None => (text, FieldKind::Plain),
            Some((name, "json")) => (name, FieldKind::Json),
            Some((name, "instant")) => (name, FieldKind::Instant),
            Some(_) => return None,
        };
        Some(Field { name: name.to_owned(), kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_data() {
        let header = Header::parse(
            "--[[\nMoves a thing.\n\nREAD ONLY\n\nKEYS\n  a_key  record  thing\n  * b_log  log\n\n\
             ARGV\n  id  text\n\nREPLY\n  ok  x y:json z:instant\n]]\nreturn 1",
        )
        .unwrap();
        assert_eq!(header.summary, "Moves a thing.");
        assert!(header.read_only && !header.own_script);
        assert_eq!(header.keys.fixed, ["a_key"]);
        assert_eq!(header.keys.repeated, ["b_log"]);
        assert_eq!(header.key_types.fixed, [KeyType::Record]);
        assert_eq!(header.key_types.repeated, [KeyType::Log]);
        assert_eq!(header.replies["ok"].len(), 3);
    }

    #[test]
    fn a_header_that_is_not_understood_is_refused() {
        let cases = [
            "return 1",
            "--[[\nMoves a thing.\nKEYS\n  a_key  account\n]]",
            "--[[\nMoves a thing.\nKEYS\n  a_key\n]]",
            "--[[\nMoves a thing.\nREPLY\n  ok  x:text\n]]",
        ];
        for source in cases {
            assert!(Header::parse(source).is_err(), "{source}");
        }
    }
}
