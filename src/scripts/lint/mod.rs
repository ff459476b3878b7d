//! Checks of a source that compiles: what the server would refuse when it runs, and what is seldom meant. `put` and
//! `validate` call [`lint`], which gives each word of the source to each rule.
//!
//! A rule is a file of this folder with one function. It reads words and a stack of blocks, and no tree: a source may
//! nest as deeply as its length allows, and nothing here calls itself.

mod blocks;
mod endless_loop;
mod forbidden_command;
mod global_assignment;
mod undeclared_key;
mod words;
mod write_before_check;

use blocks::Blocks;
use words::{WordPlace, Words};
use write_before_check::Writes;

use super::source::{Diagnostic, Severity, without_shebang};

/// Returns what is remarkable of a source, in the order of its lines.
pub fn lint(source: &str) -> Vec<Diagnostic> {
    let Ok((code, _)) = without_shebang(source) else { return Vec::new() };
    let mut found: Vec<Diagnostic> = missing_shebang(source).into_iter().collect();
    let words = Words::of(code);
    let (mut blocks, mut writes) = (Blocks::of_chunk(), Writes::default());
    for at in 0..words.len() {
        let closed = blocks.follow(&words, at);
        let diagnostics = [
            closed.and_then(|block| endless_loop::check(&block, &words, at)),
            global_assignment::check(&words, at, &blocks),
            forbidden_command::check(&words, at),
            undeclared_key::check(&words, at),
            writes.check(&words, at),
        ];
        found.extend(diagnostics.into_iter().flatten());
    }
    found.sort_by_key(|found| (found.line, found.column));
    found
}

fn missing_shebang(source: &str) -> Option<Diagnostic> {
    let message = "The first line is not `#!lua`: without it, the server checks keys less strictly where this script runs elsewhere";
    let is_missing = !source.starts_with("#!");
    is_missing.then(|| warning(WordPlace::default(), "missing-shebang", message.to_owned()))
}

fn warning(at: WordPlace, rule: &'static str, message: String) -> Diagnostic {
    let WordPlace { line, column } = at;
    Diagnostic { line, column: Some(column), severity: Severity::Warning, rule, message }
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
