//! Lazy functions: those that are marked with `--- @lazy` are created when a run calls the first of them.
//! `assemble` does it last.
//!
//! Redis creates every function of a script anew for each run, and every variable that a function uses of those
//! around it. Most runs need none of the functions for amounts beyond 10^15, or for holds that have ended.
//!
//! The lazy functions of a file become one function, `lazy_account` for `lib/account.lua`. It creates them and
//! returns them by name, so that a call `balance_of(x)` becomes `lazy_account().balance_of(x)`.

use std::collections::HashMap;

use super::{
    names::{Piece, pieces},
    prune::function_name,
};

/// The line before a lazy function.
const MARK: &str = "--- @lazy";
/// The line that begins the block of a shared file, before the path of the file.
pub(super) const BLOCK: &str = "do -- ";
/// The line that ends the functions of the runner.
pub(super) const END_OF_RUNNER: &str = "--- @operations";

/// The lazy functions of one file.
struct Group<'a> {
    /// The function that creates them.
    name: String,
    /// The line before which its name is declared.
    declared_at: usize,
    /// The line before which it is defined.
    defined_at: usize,
    names: Vec<&'a str>,
    /// Their lines, each function with its comment.
    lines: Vec<&'a str>,
}

/// By the name of a lazy function: the name of the function that creates it.
type Creators<'a> = HashMap<&'a str, &'a str>;

/// Returns a source whose lazy functions are created by the function of their file.
pub(super) fn defer(source: &str) -> String {
    let (lines, groups) = split(source);
    let creators: Creators<'_> = groups
        .iter()
        .flat_map(|group| group.names.iter().map(|name| (*name, group.name.as_str())))
        .collect();
    let mut deferred = String::new();
    for (index, line) in lines.iter().enumerate() {
        for group in groups.iter().filter(|group| group.declared_at == index) {
            deferred += &format!("local {}\n", group.name);
        }
        for group in groups.iter().filter(|group| group.defined_at == index) {
            deferred += &group.definition(&creators);
        }
        let is_exports = lines.get(index + 1).is_some_and(|next| next.starts_with(BLOCK));
        deferred += &match line.strip_prefix("local ").filter(|_| is_exports) {
            Some(names) => without_lazy(names, &creators),
            None => call_lazily(line, "", &creators) + "\n",
        };
    }
    deferred
}

/// Returns the line that declares the exported names that are not lazy.
fn without_lazy(names: &str, creators: &Creators<'_>) -> String {
    let names: Vec<_> = names.split(", ").filter(|name| !creators.contains_key(name)).collect();
    if names.is_empty() { String::new() } else { format!("local {}\n", names.join(", ")) }
}

/// Returns a line in which the calls of lazy functions go through the functions that create them, other than
/// `own`, in which the line stands.
fn call_lazily(line: &str, own: &str, creators: &Creators<'_>) -> String {
    let mut pieces = pieces(line).peekable();
    let mut written = String::new();
    while let Some(piece) = pieces.next() {
        if let Piece::Name(name) = piece
            && let Some(creator) = creators.get(name).filter(|creator| **creator != own)
            && pieces.peek().is_some_and(|next| next.text() == "(")
        {
            written += &format!("{creator}().");
        }
        written += piece.text();
    }
    written
}

/// Splits a source into the lines that stay and the lazy functions of each file.
fn split(source: &str) -> (Vec<&str>, Vec<Group<'_>>) {
    let (mut kept, mut groups): (Vec<&str>, Vec<Group<'_>>) = (Vec::new(), Vec::new());
    let mut open: Option<Group<'_>> = None;
    let mut block = ("runner", 0);
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(path) = line.strip_prefix(BLOCK) {
            block = (path.trim_start_matches("lib/"), kept.len());
        }
        if line == END_OF_RUNNER || line == "end" {
            groups.extend(open.take().map(|group| Group { defined_at: kept.len(), ..group }));
        }
        if line != MARK {
            kept.push(line);
            // The end of a function is not that of a block.
            if function_name(line).is_some() {
                kept.extend(take_function(&mut lines));
            }
            continue;
        }
        let Some(first) = lines.next_if(|line| function_name(line).is_some()) else { continue };
        let group = open.get_or_insert_with(|| Group {
            name: format!("lazy_{}", block.0),
            declared_at: if block.0 == "runner" { kept.len() } else { block.1 },
            defined_at: 0,
            names: Vec::new(),
            lines: Vec::new(),
        });
        let comment = kept.iter().rev().take_while(|line| line.starts_with("-- ")).count();
        group.declared_at = group.declared_at.min(kept.len() - comment);
        group.lines.extend(kept.drain(kept.len() - comment..));
        group.names.extend(function_name(first));
        group.lines.push(first.strip_prefix("local ").unwrap_or(first));
        group.lines.extend(take_function(&mut lines));
    }
    (kept, groups)
}

/// Takes the rest of a function whose first line was taken.
fn take_function<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut taken = Vec::new();
    for line in lines {
        taken.push(line);
        if line == "end" {
            break;
        }
    }
    taken
}

impl Group<'_> {
    /// The function that creates the functions of this file.
    fn definition(&self, creators: &Creators<'_>) -> String {
        let Group { name, names, lines, .. } = self;
        let fields: Vec<_> = names.iter().map(|name| format!("{name} = {name}")).collect();
        let lines: String =
            lines.iter().map(|line| call_lazily(line, name, creators) + "\n").collect();
        format!(
            "function {name}()\nlocal {}\n{lines}\
             local functions = {{ {} }}\nfunction {name}()\n  return functions\nend\n\
             return functions\nend\n",
            names.join(", "),
            fields.join(", "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lazy_functions_are_created_by_one_function() {
        let source = "local used, rare\ndo -- lib/file\nfunction used(a)\n  return a.rare or rare(a)\nend\n\
                      -- Is seldom called.\n--- @lazy\nfunction rare(a)\n  return other(a)\nend\n\
                      --- @lazy\nlocal function other(a)\n  return a\nend\nend\nreturn used(1)\n";
        assert_eq!(
            defer(source),
            "local used\nlocal lazy_file\ndo -- lib/file\n\
             function used(a)\n  return a.rare or lazy_file().rare(a)\nend\n\
             function lazy_file()\nlocal rare, other\n-- Is seldom called.\n\
             function rare(a)\n  return other(a)\nend\nfunction other(a)\n  return a\nend\n\
             local functions = { rare = rare, other = other }\n\
             function lazy_file()\n  return functions\nend\nreturn functions\nend\n\
             end\nreturn used(1)\n"
        );
    }
}
