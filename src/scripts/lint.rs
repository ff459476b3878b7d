//! Checks of a source that compiles: what the server would refuse when it runs, and what is seldom meant. `put` and
//! `validate` call it.
//!
//! It reads tokens and keeps a stack of blocks, and no tree: a source may nest as deeply as its length allows, and
//! nothing here calls itself.

use std::collections::HashSet;

use full_moon::tokenizer::{Position, Token, TokenType};

use super::{
    source::{Diagnostic, Severity, without_shebang},
    tokens::tokens,
};

/// Commands that no script may run here, with the reason.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "it reaches beyond the data keys of the space",
        &[
            "KEYS",
            "SCAN",
            "RANDOMKEY",
            "DBSIZE",
            "FLUSHALL",
            "FLUSHDB",
            "SWAPDB",
            "MOVE",
            "COPY",
            "MIGRATE",
            "SORT",
            "SORT_RO",
            "GEORADIUS",
            "GEORADIUSBYMEMBER",
            "PUBLISH",
            "SPUBLISH",
        ],
    ),
    (
        "it waits, and no script can",
        &[
            "BLPOP",
            "BRPOP",
            "BRPOPLPUSH",
            "BLMOVE",
            "BLMPOP",
            "BZPOPMIN",
            "BZPOPMAX",
            "BZMPOP",
            "XREAD",
            "XREADGROUP",
            "WAIT",
            "WAITAOF",
            "SUBSCRIBE",
            "PSUBSCRIBE",
            "SSUBSCRIBE",
            "MONITOR",
        ],
    ),
    (
        "it belongs to the server and its administrator",
        &[
            "CONFIG",
            "SHUTDOWN",
            "SAVE",
            "BGSAVE",
            "BGREWRITEAOF",
            "DEBUG",
            "ACL",
            "CLUSTER",
            "REPLICAOF",
            "SLAVEOF",
            "FAILOVER",
            "CLIENT",
            "SCRIPT",
            "FUNCTION",
            "EVAL",
            "EVALSHA",
            "EVAL_RO",
            "EVALSHA_RO",
            "FCALL",
            "FCALL_RO",
            "MULTI",
            "EXEC",
            "DISCARD",
            "WATCH",
            "UNWATCH",
            "SELECT",
            "AUTH",
            "HELLO",
            "RESET",
            "QUIT",
            "MODULE",
            "LATENCY",
            "SLOWLOG",
        ],
    ),
];

/// Commands that write. Others are left out of the check of writes before refusals.
const WRITES: &[&str] = &[
    "SET",
    "SETEX",
    "PSETEX",
    "SETNX",
    "GETSET",
    "GETDEL",
    "APPEND",
    "SETRANGE",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "DECR",
    "DECRBY",
    "DEL",
    "UNLINK",
    "MSET",
    "MSETNX",
    "RENAME",
    "HSET",
    "HMSET",
    "HSETNX",
    "HDEL",
    "HINCRBY",
    "HINCRBYFLOAT",
    "LPUSH",
    "RPUSH",
    "LPOP",
    "RPOP",
    "LSET",
    "LREM",
    "LTRIM",
    "LMOVE",
    "RPOPLPUSH",
    "SADD",
    "SREM",
    "SPOP",
    "SMOVE",
    "ZADD",
    "ZREM",
    "ZINCRBY",
    "ZPOPMIN",
    "ZPOPMAX",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "PERSIST",
    "XADD",
];

/// Commands without a key as their first argument.
const WITHOUT_FIRST_KEY: &[&str] = &[
    "TIME",
    "PING",
    "ECHO",
    "BITOP",
    "OBJECT",
    "XINFO",
    "XGROUP",
    "ZUNION",
    "ZINTER",
    "ZDIFF",
    "ZINTERCARD",
    "SINTERCARD",
    "LMPOP",
    "ZMPOP",
];

/// A word of code: a token that is neither blank nor comment.
struct Word {
    text: String,
    at: Position,
    is_name: bool,
    /// The content of a string without its quotes.
    string: Option<String>,
}

/// A block that has been opened and not yet closed.
struct Block {
    kind: BlockKind,
    opened_at: Position,
    /// The local variables that end with it.
    locals: HashSet<String>,
    /// True if something in it ends the loop.
    ends: bool,
    /// True between `while` or `for` and its `do`.
    awaits_do: bool,
}

/// The kind of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Function,
    /// `while true`, which only a statement in it ends.
    EndlessLoop,
    /// `repeat`, whose end is judged by its condition.
    Repeat,
    /// The braces of a table.
    Table,
    Other,
}

/// Returns what is remarkable of a source, in the order of its lines.
pub fn lint(source: &str) -> Vec<Diagnostic> {
    let Ok((code, _)) = without_shebang(source) else { return Vec::new() };
    let mut lint = Lint { words: words(code), blocks: Vec::new(), found: Vec::new(), wrote: None };
    if !source.starts_with("#!") {
        let message = "The first line is not `#!lua`: without it, the server checks keys less strictly where this script runs elsewhere";
        lint.found.push(Diagnostic {
            line: 1,
            column: Some(1),
            severity: Severity::Warning,
            rule: "missing-shebang",
            message: message.to_owned(),
        });
    }
    lint.run();
    lint.found.sort_by_key(|found| (found.line, found.column));
    lint.found
}

fn words(code: &str) -> Vec<Word> {
    let tokens = tokens(code).unwrap_or_default();
    let word = |token: &Token| {
        let kind = token.token_type();
        let is_code = !kind.is_trivia() && !matches!(kind, TokenType::Eof);
        is_code.then(|| Word {
            text: token.to_string(),
            at: token.start_position(),
            is_name: matches!(kind, TokenType::Identifier { .. }),
            string: match kind {
                TokenType::StringLiteral { literal, .. } => Some(literal.to_string()),
                _ => None,
            },
        })
    };
    tokens.iter().filter_map(word).collect()
}

struct Lint {
    words: Vec<Word>,
    blocks: Vec<Block>,
    found: Vec<Diagnostic>,
    /// The first command that writes, until a refusal after it was found.
    wrote: Option<Position>,
}

impl Lint {
    fn run(&mut self) {
        self.open(BlockKind::Function, 0);
        for at in 0..self.words.len() {
            self.follow_blocks(at);
            self.check_assignment(at);
            self.check_command(at);
            self.check_refusal(at);
        }
    }

    fn text(&self, at: usize) -> &str {
        self.words.get(at).map_or("", |word| word.text.as_str())
    }

    fn add(&mut self, at: Position, rule: &'static str, message: String) {
        let (line, column) = (at.line(), Some(at.character()));
        self.found.push(Diagnostic { line, column, severity: Severity::Warning, rule, message });
    }

    fn open(&mut self, kind: BlockKind, at: usize) {
        let opened_at = self.words.get(at).map(|word| word.at).unwrap_or_default();
        let awaits_do = ["while", "for"].contains(&self.text(at));
        self.blocks.push(Block { kind, opened_at, locals: HashSet::new(), ends: false, awaits_do });
    }

    /// Opens and closes blocks, and declares the local variables of each.
    fn follow_blocks(&mut self, at: usize) {
        match self.text(at) {
            "function" => {
                if self.text(at.wrapping_sub(1)) == "local" && at > 0 {
                    self.declare(at + 1);
                }
                self.open(BlockKind::Function, at);
                let opened = (at..at + 8).find(|place| self.text(*place) == "(");
                let mut place = opened.unwrap_or(at) + 1;
                while self.words.get(place).is_some_and(|word| word.is_name) {
                    self.declare(place);
                    place += 2;
                }
            }
            "while" => {
                let is_endless = self.text(at + 1) == "true" && self.text(at + 2) == "do";
                self.open(if is_endless { BlockKind::EndlessLoop } else { BlockKind::Other }, at);
            }
            "for" => {
                self.open(BlockKind::Other, at);
                let mut place = at + 1;
                while self.words.get(place).is_some_and(|word| word.is_name) {
                    self.declare(place);
                    place += 2;
                }
            }
            "if" => self.open(BlockKind::Other, at),
            "repeat" => self.open(BlockKind::Repeat, at),
            "do" => match self.blocks.last_mut().filter(|block| block.awaits_do) {
                Some(block) => block.awaits_do = false,
                None => self.open(BlockKind::Other, at),
            },
            "{" => self.open(BlockKind::Table, at),
            "}" => self.close(false),
            "local" if self.text(at + 1) != "function" => {
                let mut place = at + 1;
                self.declare(place);
                while self.text(place + 1) == "," {
                    place += 2;
                    self.declare(place);
                }
            }
            "break" => self.mark_end(false),
            "return" | "error" => self.mark_end(true),
            "end" => self.close(false),
            "until" => self.close(["false", "nil"].contains(&self.text(at + 1))),
            _ => {}
        }
    }

    fn declare(&mut self, at: usize) {
        let Some(name) = self.words.get(at).filter(|word| word.is_name) else { return };
        let name = name.text.clone();
        if let Some(block) = self.blocks.last_mut() {
            block.locals.insert(name);
        }
    }

    /// Records that a statement ends the innermost loop, or with `all` every loop of the function.
    fn mark_end(&mut self, all: bool) {
        for block in self.blocks.iter_mut().rev() {
            block.ends = true;
            let is_loop = matches!(block.kind, BlockKind::EndlessLoop | BlockKind::Repeat);
            if block.kind == BlockKind::Function || is_loop && !all {
                return;
            }
        }
    }

    /// Closes the innermost block. `never` says that a `repeat` has a condition that never holds.
    fn close(&mut self, never: bool) {
        let Some(block) = self.blocks.pop() else { return };
        let is_endless = match block.kind {
            BlockKind::EndlessLoop => true,
            BlockKind::Repeat => never,
            BlockKind::Function | BlockKind::Table | BlockKind::Other => false,
        };
        if is_endless && !block.ends {
            let message =
                "The loop has no `break`, no `return` and no `error`, so it runs until its timeout";
            self.add(block.opened_at, "endless-loop", message.to_owned());
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.blocks.iter().any(|block| block.locals.contains(name))
    }

    /// Finds `name = value` and `function name()` where the name is no local variable.
    fn check_assignment(&mut self, at: usize) {
        let word = &self.words[at];
        if !word.is_name || self.is_local(&word.text) {
            return;
        }
        let before = if at == 0 { "" } else { self.text(at - 1) };
        let after = self.text(at + 1);
        let is_function = before == "function" && after == "(";
        // In a table, the name before `=` is that of a field.
        let is_assigned = after == "="
            && ![".", ":", ",", "{", ";", "local", "for"].contains(&before)
            && !self.blocks.last().is_some_and(|block| block.kind == BlockKind::Table);
        let is_local_function = at >= 2 && self.text(at - 2) == "local";
        if is_assigned || is_function && !is_local_function {
            let (place, name) = (word.at, word.text.clone());
            let message =
                format!("`{name}` is no local variable, and the server refuses new global ones");
            self.add(place, "global-assignment", message);
        }
    }

    /// Looks at `redis.call('NAME', key`.
    fn check_command(&mut self, at: usize) {
        let is_call = ["redis", "server"].contains(&self.text(at))
            && self.text(at + 1) == "."
            && ["call", "pcall"].contains(&self.text(at + 2))
            && self.text(at + 3) == "(";
        if !is_call {
            return;
        }
        let Some(command) = self.words.get(at + 4) else { return };
        let Some(name) = command.string.as_ref().map(|name| name.to_uppercase()) else { return };
        let place = command.at;
        let reason = FORBIDDEN.iter().find(|(_, names)| names.contains(&name.as_str()));
        if let Some((reason, _)) = reason {
            let message = format!("No script may run `{name}`: {reason}");
            self.add(place, "forbidden-command", message);
            return;
        }
        if WRITES.contains(&name.as_str()) {
            self.wrote = self.wrote.or(Some(place));
        }
        let key = self.words.get(at + 6).filter(|_| self.text(at + 5) == ",");
        if let Some(Word { string: Some(key), at: place, .. }) = key
            && !WITHOUT_FIRST_KEY.contains(&name.as_str())
        {
            let (place, key) = (*place, key.clone());
            let message = format!(
                "The key `{key}` was not passed in: a key stands in KEYS, or begins with one that does"
            );
            self.add(place, "undeclared-key", message);
        }
    }

    /// Finds a refusal behind a write: what was written stays.
    fn check_refusal(&mut self, at: usize) {
        let is_error = self.text(at) == "error" && self.text(at + 1) == "(";
        let is_error_reply = self.text(at) == "error_reply" && self.text(at + 1) == "(";
        let is_member = at > 0 && self.text(at - 1) == "." && is_error;
        if !(is_error || is_error_reply) || is_member {
            return;
        }
        if let Some(written_at) = self.wrote.take() {
            let message = format!(
                "The script may refuse here, and has written at line {} by then: what it wrote stays",
                written_at.line()
            );
            let place = self.words[at].at;
            self.add(place, "write-before-check", message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule, line and column of each diagnostic of a source, but for that of a missing first line.
    fn rules(source: &str) -> Vec<(&'static str, usize, usize)> {
        let source = format!("#!lua\n{source}");
        let found = lint(&source).into_iter();
        found.map(|found| (found.rule, found.line, found.column.unwrap())).collect()
    }

    #[test]
    fn finds_each_rule_at_its_place() {
        assert_eq!(rules("total = 1"), [("global-assignment", 2, 1)]);
        assert_eq!(rules("local x\n  function f() end"), [("global-assignment", 3, 12)]);
        assert_eq!(rules("redis.call('GET', 'total')"), [("undeclared-key", 2, 19)]);
        assert_eq!(rules("redis.call('keys', '*')"), [("forbidden-command", 2, 12)]);
        assert_eq!(rules("while true do local a = 1 end"), [("endless-loop", 2, 1)]);
        assert_eq!(rules("repeat local a = 1 until false"), [("endless-loop", 2, 1)]);
        let late =
            "redis.call('SET', KEYS[1], 1)\nif x then\n  return redis.error_reply('no')\nend";
        assert_eq!(rules(late), [("write-before-check", 4, 16)]);
        assert_eq!(lint("return 1")[0].rule, "missing-shebang");
    }

    #[test]
    fn says_nothing_of_what_is_well() {
        for good in [
            "local a, b = 1, 2\na = b",
            "local function f(x) x = 1 return x end\nreturn f(1)",
            "for i, v in ipairs(KEYS) do i = v end",
            "for i = 1, 2 do local x = i x = 2 end",
            "local t = { a = 1, b = { c = 2 }; d = 3 }\nt.a = 2 t['b'] = 1",
            "while true do if redis.call('GET', KEYS[1]) then break end end",
            "while true do return 1 end",
            "repeat local done = true until done",
            "while redis.call('LLEN', KEYS[1]) > 0 do redis.call('LPOP', KEYS[1]) end",
            "if not redis.call('GET', KEYS[1]) then return redis.error_reply('no') end\nredis.call('SET', KEYS[1], 1)",
            "redis.call('SET', KEYS[1] .. ':x', 1)",
            "-- total = 1\nlocal s = 'x = 1' --[[ y = 2 ]]",
            "local f = function(a) a = 1 end\nlocal g = { f = function(b) b = 2 end }",
            "do local a = 1 a = 2 end",
            "return redis.call('TIME')",
        ] {
            assert_eq!(rules(good), [], "{good}");
        }
    }

    #[test]
    fn a_local_variable_ends_with_its_block() {
        assert_eq!(rules("do local a = 1 end\na = 2"), [("global-assignment", 3, 1)]);
        assert_eq!(rules("while true do break end while true do end").len(), 1);
        assert_eq!(rules("while true do while true do break end end").len(), 1);
    }

    #[test]
    fn deep_and_long_sources_are_read() {
        let deep = format!("return {}1{}", "(".repeat(50_000), ")".repeat(50_000));
        let chain = format!("return 1{}", "+1".repeat(50_000));
        let blocks = format!("{}{}", "do ".repeat(20_000), "end ".repeat(20_000));
        for source in [deep, chain, blocks] {
            let _ = lint(&source);
        }
    }
}
