//! Names: finds the names in the code of a Lua source, so that `assemble`, `constants` and `lazy` can put
//! something else in their place.

/// A piece of a source. The pieces together are the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A name, or a word of the language.
    Name(&'a str),
    /// A name after a dot or a colon: a field, which is not the variable of that name.
    Field(&'a str),
    /// Anything else: a string, a comment, a number, a sign.
    Other(&'a str),
}

impl<'a> Piece<'a> {
    /// Its text.
    pub(super) fn text(self) -> &'a str {
        match self {
            Piece::Name(text) | Piece::Field(text) | Piece::Other(text) => text,
        }
    }
}

/// Splits a source into pieces.
pub(super) fn pieces(source: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = source;
    let mut before = "";
    std::iter::from_fn(move || {
        let length = piece_length(rest);
        let (text, after) = rest.split_at_checked(length).filter(|(text, _)| !text.is_empty())?;
        rest = after;
        let is_field = before == "." || before == ":";
        before = text;
        let begins_name = text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_');
        Some(match (begins_name, is_field) {
            (true, true) => Piece::Field(text),
            (true, false) => Piece::Name(text),
            (false, _) => Piece::Other(text),
        })
    })
}

/// Returns the length of the first piece in bytes.
fn piece_length(source: &str) -> usize {
    let until = |end: &str| source.find(end).map_or(source.len(), |at| at + end.len());
    match source.as_bytes() {
        [] => 0,
        [b'-', b'-', b'[', b'[', ..] => until("]]"),
        [b'-', b'-', ..] => until("\n"),
        [quote @ (b'\'' | b'"'), ..] => string_length(source, *quote),
        [b'.', b'.', ..] => 2,
        _ => {
            let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
            match source.find(|letter| !is_word(letter)) {
                Some(0) => source.chars().next().map_or(0, char::len_utf8),
                Some(end) => end,
                None => source.len(),
            }
        }
    }
}

fn string_length(source: &str, quote: u8) -> usize {
    let mut is_escaped = false;
    for (index, byte) in source.bytes().enumerate().skip(1) {
        if byte == quote && !is_escaped {
            return index + 1;
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_fields_strings_and_comments() {
        let source = "--[[ a ]]local a = b.a .. c:d('a\\'a', \"a\") -- a\n+ 0xa1";
        let names: Vec<_> =
            pieces(source).filter(|piece| !matches!(piece, Piece::Other(_))).collect();
        assert_eq!(
            names,
            [
                Piece::Name("local"),
                Piece::Name("a"),
                Piece::Name("b"),
                Piece::Field("a"),
                Piece::Name("c"),
                Piece::Field("d"),
            ]
        );
        assert_eq!(pieces(source).map(Piece::text).collect::<String>(), source);
    }
}
