//! Mutants of a Lua file: the same file with one operator, comparison, constant or line changed.

/// A part of a file that the interpreter sees; comments and blanks are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
    start: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Number,
    Text,
    Symbol,
}

/// One change of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    /// The path below `migrations-lua`, such as `lib/amount.lua`.
    pub path: String,
    /// The number of the changed line, from 1 on.
    pub line: usize,
    /// The changed line before and after, without blanks around it; empty where it is gone.
    pub before: String,
    pub after: String,
    /// The whole file after the change.
    pub source: String,
}

/// Returns every mutant of a file. Some may be no Lua.
pub fn mutants(path: &str, source: &str) -> Vec<Mutant> {
    let tokens = tokens(source);
    let mut mutants = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if is_message(source, token) {
            continue;
        }
        for other in replacements(&tokens, index) {
            let end = token.start + token.text.len();
            mutants.push(changed(path, source, token.start..end, &other));
        }
    }
    mutants.extend(removable_lines(source, &tokens).map(|range| changed(path, source, range, "")));
    mutants
}

/// True for a text that only the log of the service has.
fn is_message(source: &str, token: &Token<'_>) -> bool {
    let before = &source[..token.start];
    let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    token.kind == Kind::Text && ["fail_corrupt(", "error("].iter().any(|call| line.contains(call))
}

/// The texts that may stand in the place of a token.
fn replacements(tokens: &[Token<'_>], index: usize) -> Vec<String> {
    let Token { kind, text, .. } = tokens[index];
    let other = match (kind, text) {
        (Kind::Symbol, "==") => "~=",
        (Kind::Symbol, "~=") => "==",
        (Kind::Symbol, "<") => "<=",
        (Kind::Symbol, "<=") => "<",
        (Kind::Symbol, ">") => ">=",
        (Kind::Symbol, ">=") => ">",
        (Kind::Symbol, "+") => "-",
        (Kind::Symbol, "-") if is_unary(tokens, index) => "",
        (Kind::Symbol, "-") => "+",
        (Kind::Symbol, "*") => "/",
        (Kind::Symbol, "/" | "%") => "*",
        (Kind::Name, "and") => "or",
        (Kind::Name, "or") => "and",
        (Kind::Name, "not") => "",
        (Kind::Name, "true") => "false",
        (Kind::Name, "false") => "true",
        (Kind::Number, number) => {
            let next = number.parse::<u64>().map(|number| (number + 1).to_string());
            return next.into_iter().collect();
        }
        (Kind::Text, text) => {
            let (inner, quote) = text.split_at(text.len() - 1);
            return vec![format!("{inner}x{quote}")];
        }
        _ => return Vec::new(),
    };
    vec![other.to_owned()]
}

/// True for a minus that has nothing before it to subtract from.
fn is_unary(tokens: &[Token<'_>], index: usize) -> bool {
    match index.checked_sub(1).map(|before| tokens[before]) {
        None => true,
        Some(Token { kind: Kind::Symbol, text, .. }) => !matches!(text, ")" | "]" | "}"),
        Some(Token { kind: Kind::Name, text, .. }) => {
            matches!(text, "return" | "and" | "or" | "not" | "then" | "else" | "do" | "in")
        }
        Some(_) => false,
    }
}

/// The lines that are a whole statement: an assignment, a call, or a `return` within a block. To remove a
/// declaration would be an error that every test finds.
fn removable_lines<'a>(
    source: &'a str,
    tokens: &'a [Token<'a>],
) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
    let mut start = 0;
    let lines = source.split_inclusive('\n').map(move |line| {
        let range = start..start + line.trim_end_matches('\n').len();
        start += line.len();
        range
    });
    lines.filter(|range| {
        let of_line: Vec<_> = tokens.iter().filter(|token| range.contains(&token.start)).collect();
        let before = tokens.iter().rfind(|token| token.start < range.start);
        let after = tokens.iter().find(|token| token.start >= range.end);
        let Some(first) = of_line.first() else { return false };
        let text_of = |token: Option<&Token<'a>>| token.map_or("", |token| token.text);
        let is_indented = source[range.clone()].starts_with(' ');
        let is_statement = first.kind == Kind::Name
            && (!is_keyword(first.text) || first.text == "return" && is_indented)
            && of_line.iter().all(|token| token.text == first.text || !is_block_word(token.text))
            && (first.text == "return"
                || of_line.iter().any(|token| matches!(token.text, "=" | "(")));
        let depth = of_line.iter().map(|token| match token.text {
            "(" | "{" | "[" => 1,
            ")" | "}" | "]" => -1,
            _ => 0,
        });
        is_statement
            && depth.sum::<i32>() == 0
            && !continues(text_of(before))
            && !continues(of_line.last().map_or("", |token| token.text))
            && !matches!(
                text_of(after),
                "and" | "or" | ".." | "+" | "-" | "," | "}" | ")" | "." | ":"
            )
    })
}

/// True where a statement goes on behind this token.
fn continues(text: &str) -> bool {
    matches!(
        text,
        "," | "(" | "{" | "[" | "=" | "and" | "or" | "not" | ".." | "+" | "-" | "*" | "/" | "=="
    )
}

fn is_keyword(text: &str) -> bool {
    is_block_word(text)
        || matches!(text, "local" | "return" | "break" | "not" | "true" | "false" | "nil")
}

fn is_block_word(text: &str) -> bool {
    matches!(
        text,
        "if" | "then"
            | "else"
            | "elseif"
            | "end"
            | "for"
            | "while"
            | "do"
            | "repeat"
            | "until"
            | "function"
    )
}

fn changed(path: &str, source: &str, range: std::ops::Range<usize>, by: &str) -> Mutant {
    let line = source[..range.start].matches('\n').count();
    let after = format!("{}{by}{}", &source[..range.start], &source[range.end..]);
    let line_of = |text: &str| text.split('\n').nth(line).unwrap_or_default().trim().to_owned();
    Mutant {
        path: path.to_owned(),
        line: line + 1,
        before: line_of(source),
        after: line_of(&after),
        source: after,
    }
}

fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let (kind, length) = if first.is_whitespace() {
            (None, first.len_utf8())
        } else if rest.starts_with("--[[") {
            (None, rest.find("]]").map_or(rest.len(), |end| end + 2))
        } else if rest.starts_with("--") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if first == '\'' || first == '"' {
            (Some(Kind::Text), text_length(rest, first))
        } else if first.is_ascii_digit() {
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
            (Some(Kind::Number), rest.find(|letter| !is_part(letter)).unwrap_or(rest.len()))
        } else if first.is_alphabetic() || first == '_' {
            let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
            (Some(Kind::Name), rest.find(|letter| !is_part(letter)).unwrap_or(rest.len()))
        } else {
            let long = ["...", "==", "~=", "<=", ">=", ".."];
            let symbol = long.iter().find(|symbol| rest.starts_with(**symbol));
            (Some(Kind::Symbol), symbol.map_or(first.len_utf8(), |symbol| symbol.len()))
        };
        if let Some(kind) = kind {
            tokens.push(Token { kind, text: &rest[..length], start: at });
        }
        at += length;
    }
    tokens
}

/// The length of a quoted text, quotes included.
fn text_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn texts_and_comments_are_no_code() {
    let source = "--[[ a == b ]]\nlocal a = 'it''s -- no' -- c < d\nreturn \"\\\"+\"\n";
    let texts: Vec<_> = tokens(source).iter().map(|token| token.text).collect();
    assert_eq!(texts, ["local", "a", "=", "'it'", "'s -- no'", "return", "\"\\\"+\""]);
}

#[test]
fn each_mutant_differs_in_one_place() {
    let source = "if a <= -1 and not b then\n  c = c + 1\n  fail_corrupt(key, 'a thing')\nend\nreturn { 'ok', true }\n";
    let changes: Vec<_> =
        mutants("x.lua", source).into_iter().map(|mutant| (mutant.line, mutant.after)).collect();
    let expected = [
        (1, "if a < -1 and not b then"),
        (1, "if a <= 1 and not b then"),
        (1, "if a <= -2 and not b then"),
        (1, "if a <= -1 or not b then"),
        (1, "if a <= -1 and  b then"),
        (2, "c = c - 1"),
        (2, "c = c + 2"),
        (5, "return { 'okx', true }"),
        (5, "return { 'ok', false }"),
        (2, ""),
        (3, ""),
    ];
    assert_eq!(changes, expected.map(|(line, text)| (line, text.to_owned())));
}

#[test]
fn only_whole_statements_are_removed() {
    let source = "local a = 1\nb = {\n  c = 1,\n}\nd(\n  e\n)\nif f then\n  return g\nend\nh = i\n  .. j\nk = l\nreturn m\n";
    let tokens = tokens(source);
    let removed: Vec<_> = removable_lines(source, &tokens).map(|range| &source[range]).collect();
    assert_eq!(removed, ["  return g", "k = l"]);
}
