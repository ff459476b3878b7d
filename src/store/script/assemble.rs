//! Assembly: one Lua source for each operation, made of the runner, the shared functions that it includes,
//! the operation, and the commit; or of all commands, for the operation that runs others. `library` calls it once a
//! process.
//!
//! A shared file is wrapped in a block. Only the names in its `--- @export` line are seen outside, so that
//! its other names cannot collide with those of another file. The header of an operation becomes its local
//! variables.

#![expect(clippy::panic, reason = "a script that cannot be assembled is found by the first test")]

use include_dir::{Dir, include_dir};

use super::{
    GUARD,
    constants::{constants, inline},
    header::{Header, KeyType, Params},
    lazy::{BLOCK, END_OF_RUNNER, defer},
    prune::{EXPORTS, prune},
};

/// The folder is the registry of operations: a new file needs no other mention.
pub(super) static FOLDER: Dir = include_dir!("$CARGO_MANIFEST_DIR/migrations-lua");

/// The environment variable of a folder from which debug builds read the scripts in place of those that were
/// compiled in. `make mutants` changes scripts that way, so that nothing is compiled anew.
#[cfg(debug_assertions)]
const SCRIPTS: &str = "LOCKSTEP_SCRIPTS";

/// Returns the source of the script `name`. `all` are the names of all operations.
pub(super) fn assemble(name: &str, header: &Header, all: &[&str]) -> String {
    let mut names = vec![name];
    if header.runs_operations {
        let is_command = |other: &&str| {
            let header = read_header(other);
            *other != name && !header.read_only && !header.internal && !header.own_script
        };
        names.extend(all.iter().copied().filter(is_command));
        names.push(GUARD);
        names.sort_unstable();
    }
    if name == USER_SCRIPT {
        return assemble_user("", header, false);
    }
    source_of(&names, header)
}

/// Returns the source of the script `name` with the operation that checks guards beside it.
pub(super) fn assemble_guarded(name: &str, header: &Header) -> String {
    source_of(&[name, GUARD], header)
}

/// Returns the source of [`USER_SCRIPT`] for a caller's own source, with the operation that checks guards
/// beside it where the call has some. Its `header` says whether it may write.
///
/// The caller's source is the body of a function that stands before the runner, so that it sees none of the
/// runner's variables, and the functions of Redis only as the parameters that `lib/sandbox.lua` passes in
/// their place. Its first line is the second of the whole. It must be a chunk that compiles by itself: then
/// it cannot end the function that it stands in.
pub(super) fn assemble_user(chunk: &str, header: &Header, guarded: bool) -> String {
    let names: &[&str] = if guarded { &[USER_SCRIPT, GUARD] } else { &[USER_SCRIPT] };
    let source = source_of(names, header);
    let (shebang, rest) = source.split_once('\n').unwrap_or_default();
    format!("{shebang}\n{USER_CHUNK}{chunk}\nend\nend\n{rest}")
}

/// The operation that runs callers' own scripts.
pub(in crate::store) const USER_SCRIPT: &str = "scripts/run";

/// Opens the function around a caller's source. The parameters hide every global function through which a
/// script could reach a key, or change what other scripts see.
const USER_CHUNK: &str = "local user_chunk = function(redis, server, KEYS, ARGV, cjson, getmetatable, error, \
    assert, pcall, xpcall, coroutine, _G, load, loadstring, loadfile, dofile, require, module, collectgarbage, setfenv, \
    getfenv, newproxy, debug, os, print, __redis__err__handler, __server__err__handler) return function(...) ";

/// Puts the runner, the shared functions and these operations together.
fn source_of(names: &[&str], header: &Header) -> String {
    let mut included = Vec::new();
    names.iter().for_each(|name| include(file(name), &mut included));
    let shared: String = included.into_iter().map(shared_block).collect();
    let operations = match names {
        [name] => format!(
            "{}layout = {}\n",
            function("current_operation", name),
            layout(&read_header(name))
        ),
        names => {
            let operation = |name: &&str| {
                let layout = layout(&read_header(name));
                function(&format!("operations['{name}']"), name)
                    + &format!("layouts['{name}'] = {layout}\n")
            };
            "operations, layouts = {}, {}\n".to_owned()
                + &names.iter().map(operation).collect::<String>()
        }
    };
    let flags = if header.read_only { " flags=no-writes" } else { "" };
    // The functions of the runner end at this line; the others follow it.
    let place = format!("{END_OF_RUNNER}\n");
    let runner = file("runner").replacen(&place, &format!("{place}\n{shared}\n{operations}"), 1);
    let runner = format!("{runner}\n{}", file("commit"));
    let inlined = inline(&runner, "", &constants(&shared, ""));
    format!("#!lua{flags}\n{}", defer(&prune(&inlined)))
}

/// Reads the header of an operation's file.
pub(super) fn read_header(name: &str) -> Header {
    Header::parse(file(name)).unwrap_or_else(|fault| panic!("migrations-lua/{name}.lua: {fault}"))
}

/// Returns a shared file in a block of its own, with its exported names declared before it.
fn shared_block(path: &str) -> String {
    let source = file(path);
    let exports = source.lines().find_map(|line| line.strip_prefix("--- @export "));
    let exports = exports.unwrap_or_else(|| panic!("migrations-lua/{path}.lua exports nothing"));
    let source = inline(source, "local ", &constants(source, "local "));
    format!("{EXPORTS}{exports}\n{BLOCK}{path}\n{source}end\n")
}

/// Returns an operation as a function of the position of its first key and argument, which `variable` gets.
fn function(variable: &str, name: &str) -> String {
    let header = read_header(name);
    let source = file(name);
    let locals = |list: &str, first: &str, params: &Params| match params.fixed.as_slice() {
        [] => String::new(),
        names => format!(
            "local {} = unpack({list}, {first} + 1, {first} + {})\n",
            names.join(", "),
            names.len()
        ),
    };
    format!(
        "{variable} = function(before_keys, before_args)\n{}{}{source}\nend\n",
        locals("KEYS", "before_keys", &header.keys),
        locals("ARGV", "before_args", &header.args),
    )
}

/// Returns the layout of an operation's keys: the positions of its records, how many keys and arguments it has,
/// and for one with lines how many a line has, what comes before, and the positions of the records of a line.
fn layout(header: &Header) -> String {
    let records = |types: &[KeyType]| {
        let loaded = types.iter().enumerate().filter(|(_, key_type)| key_type.is_loaded());
        loaded.map(|(index, _)| format!("{}, ", index + 1)).collect::<String>()
    };
    if header.runs_operations || header.runs_one_operation {
        return "{ all_keys = true }".to_owned();
    }
    let mut layout = records(&header.key_types.fixed);
    for (params, all, fixed, per_line) in [
        (&header.keys, "keys", "fixed_keys", "keys_per_line"),
        (&header.args, "args", "fixed_args", "args_per_line"),
    ] {
        let (before, count) = (params.fixed.len(), params.repeated.len());
        if count > 0 {
            layout += &format!("{fixed} = {before}, {per_line} = {count}, ");
        } else if !header.keys.fixed.is_empty() {
            // Data keys have no names, and there are any number of them.
            layout += &format!("{all} = {before}, ");
        }
    }
    if header.key_types.repeated.iter().any(|key_type| key_type.is_loaded()) {
        layout += &format!("line_records = {{ {}}}, ", records(&header.key_types.repeated));
    }
    format!("{{ {layout}}}")
}

/// Collects the files that a source includes, each once and after what it includes itself.
fn include(source: &'static str, included: &mut Vec<&'static str>) {
    for line in source.lines() {
        let path = line.strip_prefix("--- @include \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(path) = path.filter(|path| !included.contains(path)) {
            include(file(path), included);
            included.push(path);
        }
    }
}

fn file(path: &str) -> &'static str {
    // Only in debug builds: who may set an environment variable must never be able to change what moves money.
    #[cfg(debug_assertions)]
    if let Some(folder) = std::env::var_os(SCRIPTS) {
        let path = std::path::Path::new(&folder).join(format!("{path}.lua"));
        let source = std::fs::read_to_string(&path);
        return source.unwrap_or_else(|error| panic!("{}: {error}", path.display())).leak();
    }
    FOLDER
        .get_file(format!("{path}.lua"))
        .and_then(|file| file.contents_utf8())
        .unwrap_or_else(|| panic!("there is no migrations-lua/{path}.lua"))
}
