//! Reads Lua into tokens, and removes comments. `source` strips what is loaded, and `lint` reads what callers
//! wrote. The lexer is that of `full_moon`, which knows strings, long strings and long comments.

use std::{collections::HashMap, panic::catch_unwind};

use full_moon::{
    LuaVersion,
    tokenizer::{Lexer, LexerResult, Token, TokenReference, TokenType},
};

/// Returns the tokens of a source, with its blanks and comments among them; `None` where the lexer does not
/// know one of them, or fails as it does for some strings without an end.
pub fn tokens(source: &str) -> Option<Vec<Token>> {
    catch_unwind(|| read_tokens(source)).ok()?
}

fn read_tokens(source: &str) -> Option<Vec<Token>> {
    let mut lexer = Lexer::new(source, LuaVersion::lua51());
    let mut tokens = Vec::new();
    while let Some(result) = lexer.consume() {
        let LexerResult::Ok(reference) = result else { return None };
        let add = |token: &Token| token.clone();
        tokens.extend(TokenReference::leading_trivia(&reference).map(add));
        tokens.push(reference.token().clone());
        tokens.extend(TokenReference::trailing_trivia(&reference).map(add));
    }
    Some(tokens)
}

/// Returns a source as it is loaded: without its comments, and with a function around each `return redis.call(...)`
/// that leaves its line known. Its lines keep their numbers. A source that the lexer does not read stays as it is.
///
/// A function that returns the call of another is gone while that runs, and with it the line in which a command
/// failed. In parentheses it stays; a command has one result, which they do not change.
pub fn for_loading(source: &str) -> String {
    let Some(tokens) = tokens(source) else { return source.to_owned() };
    let parentheses = around_returned_commands(&tokens);
    let mut loaded = String::with_capacity(source.len());
    for (index, token) in tokens.iter().enumerate() {
        let text = token.to_string();
        let parenthesis = parentheses.get(&index).copied();
        loaded.extend(parenthesis.filter(|parenthesis| *parenthesis == '('));
        match token.token_type() {
            TokenType::SingleLineComment { .. } | TokenType::MultiLineComment { .. } => {
                loaded.push(' ');
                loaded.extend(text.matches('\n'));
            }
            _ => loaded.push_str(&text),
        }
        loaded.extend(parenthesis.filter(|parenthesis| *parenthesis == ')'));
    }
    loaded
}

/// The parentheses to put around each `redis.call(...)` that is all that a `return` returns: `(` before a token, and
/// `)` behind one, by the index of the token.
fn around_returned_commands(tokens: &[Token]) -> HashMap<usize, char> {
    let code: Vec<(usize, String)> = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| !token.token_type().is_trivia())
        .map(|(index, token)| (index, token.to_string()))
        .collect();
    let word = |at: usize| code.get(at).map_or("", |(_, text)| text.as_str());
    let mut closing = HashMap::new();
    let mut open = Vec::new();
    for at in 0..code.len() {
        match word(at) {
            "(" => open.push(at),
            ")" => drop(open.pop().map(|opened| closing.insert(opened, at))),
            _ => {}
        }
    }
    let mut parentheses = HashMap::new();
    for at in 0..code.len() {
        let is_call = word(at) == "return"
            && ["redis", "server"].contains(&word(at + 1))
            && word(at + 2) == "."
            && word(at + 3) == "call";
        let Some(last) = closing.get(&(at + 4)).filter(|_| is_call) else { continue };
        if ["", "end", "else", "elseif", "until", ";"].contains(&word(last + 1)) {
            parentheses.insert(code[at + 1].0, '(');
            parentheses.insert(code[*last].0, ')');
        }
    }
    parentheses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_everything_else_stays() {
        let source = "local a = '--no' -- yes\nlocal b = \"--[[ no ]]\" --[[ yes\nyes ]] local c = 1\n\
                      local d = [[\n-- no\n]]--[==[ yes\n]]\n]==]return--x\na -- end";
        let loaded = for_loading(source);
        assert_eq!(loaded.matches('\n').count(), source.matches('\n').count());
        assert!(!loaded.contains("yes") && !loaded.contains("--x") && !loaded.contains("-- end"));
        for kept in ["'--no'", "\"--[[ no ]]\"", "[[\n-- no\n]]", "local c = 1", "return \na"] {
            assert!(loaded.contains(kept), "{kept} in {loaded}");
        }
        let lines = |text: &str, word: &str| text.lines().position(|line| line.contains(word));
        assert_eq!(lines(&loaded, "local c"), lines(source, "local c"));
        // What is between comments does not grow together.
        assert_eq!(for_loading("return--[[]]1"), "return 1");
        assert_eq!(for_loading("a = 1-- x"), "a = 1 ");
    }

    #[test]
    fn a_returned_command_keeps_its_line() {
        assert_eq!(
            for_loading("return redis.call('GET', f(x))"),
            "return (redis.call('GET', f(x)))"
        );
        assert_eq!(
            for_loading("if x then return redis.call(y) end"),
            "if x then return (redis.call(y)) end"
        );
        for other in [
            "return redis.call('GET', k) + 1",
            "return redis.call('LRANGE', k)[1]",
            "return redis.call('GET', k), 2",
            "return redis.pcall('GET', k)",
            "return redis.call",
            "return redis.call(",
        ] {
            assert_eq!(for_loading(other), other);
        }
    }

    #[test]
    fn a_source_that_is_no_lua_stays_as_it_is() {
        for source in ["local a = 'open", "--[[ open", "a = [==[ open ]=]", "\u{1F512} = $"] {
            let _ = for_loading(source);
        }
        assert_eq!(for_loading("local a = 'open"), "local a = 'open");
    }
}
