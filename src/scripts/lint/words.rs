//! The words of a source: its tokens without blanks and comments. The rules of `lint` read them by their index.

use full_moon::tokenizer::{Token, TokenType};

use crate::scripts::tokens::tokens;

/// The words of a source in their order.
pub(super) struct Words(Vec<Word>);

struct Word {
    text: String,
    at: WordPlace,
    is_name: bool,
    /// The content of a string without its quotes.
    string: Option<String>,
}

/// The place of a word, both numbers from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct WordPlace {
    /// Number of its line.
    pub line: usize,
    /// Number of its first character in that line.
    pub column: usize,
}

impl Default for WordPlace {
    /// The beginning of a source.
    fn default() -> WordPlace {
        WordPlace { line: 1, column: 1 }
    }
}

/// `redis.call('NAME', ...)`, or one of its siblings.
pub(super) struct CommandCall<'a> {
    /// The name of the command in capitals.
    pub name: String,
    /// The place of the name.
    pub at: WordPlace,
    /// The first argument where it is a string, with its place.
    pub first_string: Option<(&'a str, WordPlace)>,
}

impl Words {
    /// The words of a source; none where the lexer does not read it.
    pub fn of(code: &str) -> Words {
        let tokens = tokens(code).unwrap_or_default();
        Words(tokens.iter().filter_map(Word::of).collect())
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The text of a word; nothing behind the last one.
    pub fn text(&self, at: usize) -> &str {
        self.0.get(at).map_or("", |word| word.text.as_str())
    }

    /// The text of the word before; nothing before the first one.
    pub fn text_before(&self, at: usize) -> &str {
        at.checked_sub(1).map_or("", |before| self.text(before))
    }

    /// The place of a word.
    pub fn place(&self, at: usize) -> WordPlace {
        self.0.get(at).map(|word| word.at).unwrap_or_default()
    }

    /// A word that is a name and none of the language's own.
    pub fn name(&self, at: usize) -> Option<&str> {
        self.0.get(at).filter(|word| word.is_name).map(|word| word.text.as_str())
    }

    /// The command that is called by `redis.call`, `redis.pcall` or those of `server`, if this is the first word of
    /// that and the command is a string.
    pub fn command_call(&self, at: usize) -> Option<CommandCall<'_>> {
        let is_call = ["redis", "server"].contains(&self.text(at))
            && self.text(at + 1) == "."
            && ["call", "pcall"].contains(&self.text(at + 2))
            && self.text(at + 3) == "(";
        let command = self.0.get(at + 4).filter(|_| is_call)?;
        let name = command.string.as_ref()?.to_uppercase();
        let first = self.0.get(at + 6).filter(|_| self.text(at + 5) == ",");
        let first_string = first.and_then(|word| Some((word.string.as_deref()?, word.at)));
        Some(CommandCall { name, at: command.at, first_string })
    }
}

impl Word {
    fn of(token: &Token) -> Option<Word> {
        let kind = token.token_type();
        let is_code = !kind.is_trivia() && !matches!(kind, TokenType::Eof);
        let at = token.start_position();
        is_code.then(|| Word {
            text: token.to_string(),
            at: WordPlace { line: at.line(), column: at.character() },
            is_name: matches!(kind, TokenType::Identifier { .. }),
            string: match kind {
                TokenType::StringLiteral { literal, .. } => Some(literal.to_string()),
                _ => None,
            },
        })
    }
}
