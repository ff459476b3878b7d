//! Pruning: drops from an assembled script the functions that nothing in it calls. `assemble` does it
//! when the script is whole.
//!
//! Redis creates every function of a script anew for each run, which costs about as much as a call of a
//! short one. A script of one operation needs a third of the shared functions.

use std::collections::{HashMap, HashSet};

use super::names::{Piece, pieces};

/// A part of a script: a function at the outermost level, a list of exported names, or the lines between.
enum Part<'a> {
    Function { name: &'a str, lines: Vec<&'a str> },
    Exports(Vec<&'a str>),
    Lines(Vec<&'a str>),
}

/// The prefix of the line that declares the exported names of a shared file.
pub(super) const EXPORTS: &str = "local --[[exports]] ";

/// Returns a source without the functions of its outermost level that nothing else in it names.
pub(super) fn prune(source: &str) -> String {
    let mut parts: Vec<(Part<'_>, HashSet<&str>)> = parts(source)
        .into_iter()
        .map(|part| {
            let words = part.words();
            (part, words)
        })
        .collect();
    // By word: the number of parts that have it.
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for word in parts.iter().flat_map(|(_, words)| words) {
        *uses.entry(word).or_default() += 1;
    }
    loop {
        let before = parts.len();
        parts.retain(|(part, words)| {
            let Part::Function { name, .. } = part else { return true };
            // The function itself has its name too.
            let is_used = uses.get(name).is_some_and(|uses| *uses > 1);
            if !is_used {
                for word in words {
                    uses.entry(word).and_modify(|uses| *uses -= 1);
                }
            }
            is_used
        });
        if parts.len() == before {
            break;
        }
    }
    let is_defined = |name: &str| uses.get(name).is_some_and(|uses| *uses > 0);
    parts.iter().map(|(part, _)| part.write(is_defined)).collect()
}

fn parts(source: &str) -> Vec<Part<'_>> {
    let mut parts = vec![Part::Lines(Vec::new())];
    for line in source.lines() {
        if let Some(names) = line.strip_prefix(EXPORTS) {
            parts.push(Part::Exports(names.split(", ").collect()));
            parts.push(Part::Lines(Vec::new()));
        } else if let Some(name) = function_name(line) {
            parts.push(Part::Function { name, lines: vec![line] });
        } else {
            match parts.last_mut() {
                Some(Part::Function { lines, .. }) if line == "end" => {
                    lines.push(line);
                    parts.push(Part::Lines(Vec::new()));
                }
                Some(Part::Function { lines, .. } | Part::Lines(lines)) => lines.push(line),
                _ => parts.push(Part::Lines(vec![line])),
            }
        }
    }
    parts
}

/// Returns the name of the function whose definition begins on an unindented line.
pub(super) fn function_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("local ").unwrap_or(line).strip_prefix("function ")?;
    rest.split('(').next()
}

impl<'a> Part<'a> {
    /// The identifiers in its code. Exports name functions and do not use them.
    fn words(&self) -> HashSet<&'a str> {
        let lines = match self {
            Part::Function { lines, .. } | Part::Lines(lines) => lines.as_slice(),
            Part::Exports(_) => &[],
        };
        let pieces = lines.iter().flat_map(|line| pieces(line));
        let name = |piece| match piece {
            Piece::Name(name) => Some(name),
            _ => None,
        };
        pieces.filter_map(name).collect()
    }

    fn write(&self, is_defined: impl Fn(&str) -> bool) -> String {
        let lines = match self {
            Part::Function { lines, .. } | Part::Lines(lines) => lines,
            Part::Exports(names) => {
                let names: Vec<&str> =
                    names.iter().copied().filter(|name| is_defined(name)).collect();
                return if names.is_empty() {
                    String::new()
                } else {
                    format!("local {}\n", names.join(", "))
                };
            }
        };
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_functions_that_are_called_stay() {
        let source = "local --[[exports]] used, unused, LIMIT\ndo\nLIMIT = 1\n\
                      -- unused is named in a comment\n\
                      local function private()\n  return LIMIT\nend\n\
                      function used()\n  return private()\nend\n\
                      local function only_for_unused()\n  return only_for_unused\nend\n\
                      function unused()\n  return only_for_unused()\nend\n\
                      end\nreturn used()\n";
        let pruned = prune(source);
        assert_eq!(
            pruned,
            "local used, LIMIT\ndo\nLIMIT = 1\n-- unused is named in a comment\n\
             local function private()\n  return LIMIT\nend\n\
             function used()\n  return private()\nend\nend\nreturn used()\n"
        );
    }
}
