//! Constants: puts the values of constants in the place of their names. `assemble` does it for each shared
//! file and for what shared files export.
//!
//! A constant that a function uses is a variable that Redis creates anew for each run of a script.

use std::collections::HashMap;

use super::names::{Piece, pieces};

/// The constants of a source by name: the lines at its outermost level that give a name in capitals a number
/// or a string. `prefix` is what stands before the name, `local ` or nothing.
pub(super) fn constants<'a>(source: &'a str, prefix: &str) -> HashMap<&'a str, &'a str> {
    let next_lines = source.lines().skip(1).chain([""]);
    let lines = source.lines().zip(next_lines);
    // A value that goes on in the next line is none of these.
    let whole = lines.filter(|(_, next)| !next.starts_with(' ')).map(|(line, _)| line);
    whole.filter_map(|line| definition(line, prefix)).collect()
}

/// Returns a source with the values of `constants` in the place of their names, without their definitions.
pub(super) fn inline(source: &str, prefix: &str, constants: &HashMap<&str, &str>) -> String {
    let is_kept = |line: &&str| {
        definition(line, prefix).is_none_or(|(name, _)| !constants.contains_key(name))
    };
    let kept: String = source.split_inclusive('\n').filter(is_kept).collect();
    let value = |piece: Piece<'_>| match piece {
        Piece::Name(name) => constants.get(name).map(|value| format!("({value})")),
        _ => None,
    };
    pieces(&kept).map(|piece| value(piece).unwrap_or_else(|| piece.text().to_owned())).collect()
}

fn definition<'a>(line: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    let (name, value) = line.trim_end().strip_prefix(prefix)?.split_once(" = ")?;
    let is_constant = name.starts_with(|letter: char| letter.is_ascii_uppercase())
        && name
            .chars()
            .all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_');
    let is_number = value.starts_with(|letter: char| letter.is_ascii_digit())
        && value.chars().all(|letter| letter.is_ascii_digit() || letter == ' ' || letter == '*');
    let is_string = value.starts_with('\'') && pieces(value).count() == 1;
    (is_constant && (is_number || is_string)).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_its_value_where_code_names_it() {
        let source = "local DAYS = 7 * 24\nlocal TEXT = '<Bd'\nlocal LIST = { 1 }\nlocal LONG = 'a'\n  .. 'b'\n\
                      -- DAYS\nreturn x.DAYS, 'DAYS', DAYS, TEXT:rep(2), LIST\n";
        let constants = constants(source, "local ");
        assert_eq!(
            inline(source, "local ", &constants),
            "local LIST = { 1 }\nlocal LONG = 'a'\n  .. 'b'\n-- DAYS\nreturn x.DAYS, 'DAYS', (7 * 24), ('<Bd'):rep(2), LIST\n"
        );
    }
}
