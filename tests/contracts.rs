//! Contracts between the folders of the repository: rules that a test can check, so that no document
//! has to ask for them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use lockstep::{
    app,
    store::{self, CLUSTER_COMMANDS, COMMANDS, Library, REPLICA_COMMANDS, SCRIPT_COMMANDS},
    types,
};
use serde_json::Value;

/// The published OpenAPI document is the one that the code writes; `UPDATE=1` accepts a change.
#[test]
fn openapi_is_current() {
    let file = "openapi/openapi.json";
    let current = serde_json::to_string_pretty(&app::document("")).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file, &current).unwrap();
    }
    let published = fs::read_to_string(file).unwrap_or_default();
    assert!(published == current, "{file} is not what the code writes: run make openapi");
}

/// A script reads its keys and arguments by the names of its header, and never by number.
#[test]
fn scripts_use_the_names_of_their_headers() {
    // These read lists of any length, whose positions have no names.
    let reads_lists = ["atomic/run", "batch/get", "batch/set", "locks/guard", "scripts/run"];
    for script in Library::embedded().iter() {
        let source = read(format!("migrations-lua/{}.lua", script.name));
        let (_, body) = source.split_once("]]").unwrap();
        for indexed in ["KEYS", "ARGV"] {
            assert!(
                !body.contains(indexed) || reads_lists.contains(&script.name),
                "{} uses {indexed}",
                script.name
            );
        }
    }
}

/// Writes each script as Redis gets it to `target/lua/`, for luacheck: a file of `migrations-lua/` alone
/// uses names that others define.
#[test]
#[ignore = "make lint runs it before luacheck"]
fn assembled_scripts() {
    let folder = Path::new("target/lua");
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
    for script in Library::embedded().iter() {
        let file = folder.join(script.name.replace('/', "-")).with_extension("lua");
        fs::write(file, &script.source).unwrap();
    }
}

/// All commands stand in one script too, for `POST /atomic`: each name that a shared file exports is
/// exported once and used by somebody else, and the runner has no local of that name.
#[test]
fn shared_files_export_each_name_once() {
    let mut known = BTreeMap::new();
    let scripts: String = files("migrations-lua", "lua").into_iter().map(read).collect();
    for file in files("migrations-lua/lib", "lua") {
        let text = read(&file);
        let exports = text.lines().find_map(|line| line.strip_prefix("--- @export "));
        let exports = exports.unwrap_or_else(|| panic!("{} exports nothing", file.display()));
        for name in exports.split(", ") {
            let defined = text.contains(&format!("function {name}("))
                || text.contains(&format!("\n{name} = "));
            assert!(defined, "{} exports {name} and does not define it", file.display());
            let own = count_word(&text, name);
            assert!(count_word(&scripts, name) > own, "{name} is used by nobody");
            let other = known.insert(name.to_owned(), file.clone());
            assert!(other.is_none(), "{name} stands in {} and {other:?}", file.display());
        }
    }
    for file in ["migrations-lua/runner.lua", "migrations-lua/commit.lua"] {
        for line in read(file).lines() {
            let Some(rest) = line.strip_prefix("local ") else { continue };
            let rest = rest.strip_prefix("function ").unwrap_or(rest);
            for name in rest.split(['=', '(']).next().unwrap().split(',').map(str::trim) {
                assert!(scripts.matches(name).count() > 1, "{name} of {file} is used by nobody");
                let other = known.insert(name.to_owned(), file.into());
                assert!(other.is_none(), "{name} stands in {file} and {other:?}");
            }
        }
    }
    // A function of Lua has at most 200 locals at a time, and that script is one function. Those of a shared
    // file end with its block.
    let composite = Library::embedded().script("atomic/run");
    let (mut locals, mut depth) = (0, 0);
    for line in composite.source.lines() {
        let blocks =
            ["do -- ", "function ", "local function ", "operations['", "if ", "for ", "while "];
        let opens = blocks.iter().any(|block| line.starts_with(block));
        if line.starts_with("local ") && depth == 0 {
            let names = line.trim_start_matches("local ").split(['=', '(']).next().unwrap();
            locals += names.split(',').count();
        }
        depth += i32::from(opens) - i32::from(line == "end");
    }
    assert!((100..190).contains(&locals), "{locals} locals");
}

/// Returns how often an identifier stands in a source.
fn count_word(source: &str, name: &str) -> usize {
    let words = source.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    words.filter(|word| *word == name).count()
}

/// Neither the script nor its includes lack a code that the header names. The opposite, a code that the
/// header does not name, is an internal error when it happens.
#[test]
fn headers_name_no_word_in_vain() {
    for script in Library::embedded().iter() {
        let known: BTreeSet<&str> = script.header.replies.keys().map(String::as_str).collect();
        let mut said = BTreeSet::from(["ok"]);
        let own = read(format!("migrations-lua/{}.lua", script.name));
        let sources = included(&own).into_iter().chain([own]).collect::<Vec<_>>();
        for source in &sources {
            let (_, body) = source.split_once("]]").unwrap_or(("", source));
            for word in body.split('\'') {
                if types::codes::CODES
                    .iter()
                    .chain(app::problem_codes())
                    .any(|code| code.code == word)
                {
                    said.insert(word);
                }
            }
        }
        // A shared function may refuse for reasons that this operation never has.
        let unknown: Vec<_> = known.difference(&said).collect();
        assert!(unknown.is_empty(), "{} never says {unknown:?}", script.name);
    }
}

/// A refusal has one code: in a header, in the catalogue of problems, and in a test of the operation;
/// and its text uses only fields that the header sends.
#[test]
fn every_refusal_is_explained_and_tested() {
    for script in Library::embedded().iter() {
        let test = read(format!("tests/service/{}.rs", script.name));
        for word in script.header.refusals() {
            let code = app::problem_codes().iter().find(|code| code.code == word);
            let code = code.unwrap_or_else(|| panic!("{word} of {} has no code", script.name));
            let fields: Vec<_> =
                script.header.replies[word].iter().map(|field| field.name.as_str()).collect();
            // These members have a meaning in every problem.
            let taken = ["type", "title", "status", "detail", "code", "retryable", "outcome"];
            assert!(!fields.iter().any(|field| taken.contains(field)), "{word}: {fields:?}");
            for place in code.placeholders() {
                assert!(fields.contains(&place), "{word} of {} lacks {place}", script.name);
            }
            let shared = word == "version_mismatch" && test.contains("assert_if_match(");
            let tested = shared || test.contains(&format!("\"{word}\""));
            assert!(tested, "{word} of {} is not tested", script.name);
        }
    }
}

/// Every code is reached by a test of the service.
#[test]
fn every_problem_code_is_reached() {
    let roots = ["tests/service", "tests/distributed"];
    let tests: String = roots.iter().flat_map(|root| files(root, "rs")).map(read).collect();
    let tests = tests.replace('\\', "");
    for code in app::problem_codes() {
        assert!(tests.contains(&format!("\"{}\"", code.code)), "{} is not tested", code.code);
    }
}

#[test]
fn every_problem_code_stands_once() {
    let mut seen = BTreeMap::new();
    for code in app::problem_codes() {
        assert!(seen.insert(code.code, code.title).is_none(), "{} stands twice", code.code);
        assert!(
            code.explanation.ends_with('.') && code.detail_template.ends_with('.'),
            "{}",
            code.code
        );
    }
}

/// `accounts/transfer` is a script, a source file and a test file, and an operation of the document.
#[test]
fn every_operation_has_its_three_files() {
    let document = app::document("").to_string();
    for script in Library::embedded().iter() {
        let source = format!("src/{}.rs", script.name);
        let test = format!("tests/service/{}.rs", script.name);
        // What the store puts around other operations has no source of its own.
        for file in [source].into_iter().filter(|_| !script.header.runs_one_operation).chain([test])
        {
            assert!(Path::new(&file).is_file(), "{file} is missing");
        }
        assert!(
            script.header.internal
                || document
                    .contains(&format!("\"operationId\":\"{}\"", script.name.replace('/', "_"))),
            "{}",
            script.name
        );
    }
}

/// An operation lists `If-Match` among its parameters if and only if its script compares versions.
#[test]
fn if_match_is_documented_where_it_is_honoured() {
    let document = app::document("");
    let operations = document["paths"].as_object().unwrap().values();
    let mut conditional = 0;
    for operation in operations.flat_map(|methods| methods.as_object().unwrap().values()) {
        let id = operation["operationId"].as_str().unwrap();
        let library = Library::embedded();
        let script = library.iter().find(|script| script.name.replace('/', "_") == id);
        let compares = script.is_some_and(|script| {
            !script.header.runs_operations
                && script.header.refusals().any(|code| code == types::codes::VERSION_MISMATCH.code)
        });
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let documented = parameters.clone().any(|parameter| parameter["name"] == "If-Match");
        assert_eq!(documented, compares, "{id}");
        conditional += usize::from(documented);
    }
    assert!(conditional >= 5, "{conditional}");
}

/// Every body of the document has an example, and every operation a summary and descriptions.
#[test]
fn the_document_is_complete() {
    let document = app::document("");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{place} has no summary");
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let mut schemas: Vec<&str> = body.as_str().into_iter().collect();
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = resolved(&document, response);
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{place}"
                );
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                schemas.extend(schema.as_str().filter(|_| status.starts_with('2')));
            }
            for schema in schemas {
                let name = schema.rsplit('/').next().unwrap();
                let schema = &document["components"]["schemas"][name];
                let own = schema.get("example").or(schema.get("examples")).is_some();
                let of_fields = schema["properties"].as_object().is_some_and(|fields| {
                    fields.values().all(|field| {
                        field.get("example").is_some()
                            || field.get("examples").is_some()
                            || field.to_string().contains("$ref")
                            || field["type"] == "boolean"
                            || field["type"] == "string"
                    })
                });
                assert!(own || of_fields, "{place}: {name} has no example");
            }
        }
    }
}

/// Every schema, field and parameter of the document has a description, and that of an enum names each
/// of its values.
#[test]
fn everything_in_the_document_is_described() {
    let document = app::document("");
    let mut silent = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if !is_described(schema) {
            silent.push(name.clone());
        }
        let description = schema["description"].as_str().unwrap_or_default();
        for value in schema["enum"].as_array().into_iter().flatten() {
            if !description.contains(&format!("`{}`", value.as_str().unwrap())) {
                silent.push(format!("{name}: {value}"));
            }
        }
        add_silent_fields(name, schema, &mut silent);
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if !is_described(resolved(&document, parameter)) {
                    silent.push(format!("{path}: {}", parameter["name"]));
                }
            }
        }
    }
    assert!(silent.is_empty(), "{} have no description:\n{}", silent.len(), silent.join("\n"));
}

/// Every member of a problem has a type: a row in `src/openapi/members.rs`.
#[test]
fn every_member_of_a_problem_is_typed() {
    let document = app::document("");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let problems = schemas.iter().filter(|(name, _)| name.ends_with("Problem"));
    let mut members = 0;
    for (name, schema) in problems {
        for (member, schema) in schema["properties"].as_object().unwrap() {
            let is_typed = ["type", "$ref", "const"].iter().any(|key| schema.get(key).is_some());
            assert!(is_typed, "{member} of {name} has no row in src/openapi/members.rs");
            members += 1;
        }
    }
    assert!(members > 500, "{members}");
}

/// The part of the document that a reference stands for; any other part stands for itself.
fn resolved<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    let reference = part["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.map_or(part, |pointer| document.pointer(pointer).unwrap())
}

/// Collects the fields of a schema that have no description, those of its parts among them.
fn add_silent_fields(name: &str, schema: &Value, silent: &mut Vec<String>) {
    for (field, part) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{name}.{field}");
        if !is_described(part) {
            silent.push(place.clone());
        }
        add_silent_fields(&place, part, silent);
    }
    variants(schema).for_each(|part| add_silent_fields(name, part, silent));
    if let Some(items) = schema.get("items") {
        add_silent_fields(name, items, silent);
    }
}

/// True if a schema or a parameter has a description. That of an optional field stands inside of it,
/// beside the reference to the type.
fn is_described(schema: &Value) -> bool {
    let own = schema["description"].as_str().is_some_and(|text| !text.is_empty());
    own || variants(schema).any(is_described)
}

fn variants(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["oneOf", "anyOf", "allOf"].map(|kind| schema[kind].as_array());
    lists.into_iter().flatten().flatten()
}

/// A schema of the document has the name of its type, or the one given by `as`: of two with one name,
/// the document would show callers the wrong one.
#[test]
fn every_schema_has_a_name_of_its_own() {
    let mut known = BTreeMap::new();
    for file in files("src", "rs") {
        let text = read(&file);
        for item in text.split("#[derive(").skip(1) {
            let (derived, rest) = item.split_once(")]").unwrap();
            let Some((attributes, rest)) = rest.split_once("\npub ") else { continue };
            if !derived.contains("ToSchema") {
                continue;
            }
            let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
            let own = rest.split(' ').nth(1).unwrap().split(|it| !is_name(it)).next();
            let given = attributes.split("schema(as = ").nth(1);
            let name = given.and_then(|rest| rest.split(|it| !is_name(it)).next()).or(own).unwrap();
            let other = known.insert(name.to_owned(), file.clone());
            assert!(other.is_none(), "{name} is a schema in {} and {other:?}", file.display());
        }
    }
    assert!(known.len() > 80, "{}", known.len());
}

/// A module uses only modules of the floors that `src/lib.rs` declares before its own.
#[test]
fn imports_go_down() {
    let mut floors: Vec<(String, usize)> = Vec::new();
    let mut floor = 0;
    for line in read("src/lib.rs").lines() {
        if line.starts_with("// Floor") {
            floor += 1;
        } else if let Some(module) = line.strip_prefix("pub mod ") {
            floors.push((module.trim_end_matches(';').to_owned(), floor));
        }
    }
    assert!(floors.len() > 8);
    for file in files("src", "rs") {
        let module = file.components().nth(1).unwrap().as_os_str().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        let Some((_, own)) = floors.iter().find(|(name, _)| name == module) else { continue };
        let text = read(&file);
        for (used, floor) in &floors {
            let inside =
                text.split("use crate::{").skip(1).filter_map(|rest| rest.split("};").next());
            let in_list = inside.flat_map(str::lines).any(|line| {
                let line = line.trim_start();
                line.starts_with(&format!("{used}::")) || line.starts_with(&format!("{used},"))
            });
            let uses = text.contains(&format!("crate::{used}")) || in_list;
            assert!(
                !uses || used == module || floor < own,
                "{} reaches up to {used}",
                file.display()
            );
        }
    }
}

/// Only the store names the Redis client; other modules call operations.
#[test]
fn only_the_store_names_redis() {
    for file in files("src", "rs").into_iter().filter(|file| !file.starts_with("src/store")) {
        let text = read(&file);
        assert!(!text.contains("redis::"), "{} names redis", file.display());
    }
}

/// The commands whose rights are checked at the start are those that scripts, the store and data commands
/// send, and those that `docs/operations.md` has the user of Redis be given.
#[test]
fn the_rights_are_those_of_the_commands_that_are_sent() {
    // The driver makes a subscription.
    let mut sent = BTreeSet::from(["SUBSCRIBE".to_owned()]);
    let lua = files("migrations-lua", "lua");
    for text in lua.into_iter().chain(files("src/store", "rs")).map(read) {
        let calls = [
            ("'", "call("),
            ("'", "write("),
            ("'", "undo("),
            ("'", "queue_cleanup("),
            ("'", "{"),
            ("\"", "cmd("),
            ("\"", "vec![b"),
        ];
        for (at, _) in text.match_indices(['\'', '"']) {
            let (before, rest) = (text[..at].trim_end(), &text[at + 1..]);
            let word: String = rest.chars().take_while(char::is_ascii_uppercase).collect();
            let is_whole = rest[word.len()..].starts_with(&text[at..=at]) && !word.is_empty();
            // Errors of the runner stand in tables too.
            let is_sent = calls
                .iter()
                .any(|(quote, call)| text[at..].starts_with(quote) && before.ends_with(call));
            if is_whole && is_sent && word != "PREREQUISITE" {
                sent.insert(word);
            }
        }
    }
    for row in read("src/data/command.rs").lines().filter(|line| line.contains("row(DataCommandT"))
    {
        sent.insert(row.split('"').nth(3).unwrap().to_owned());
    }
    // Logging in needs no right, and only a URL with a database other than 0 needs SELECT.
    // Sentinels are asked, and no server; and only the nodes of a cluster need the rights to these.
    assert!(sent.remove("AUTH") && sent.remove("SELECT") && sent.remove("SENTINEL"));
    assert!(sent.remove("CLUSTER") && CLUSTER_COMMANDS.iter().all(|command| sent.remove(*command)));
    // The command that runs a script is named by `library.rs`.
    sent.extend(["EVALSHA", "EVALSHA_RO", "EVAL_RO"].map(str::to_owned));
    let known = COMMANDS.iter().chain(SCRIPT_COMMANDS).chain(REPLICA_COMMANDS);
    let known = known.map(|command| (*command).to_owned());
    assert_eq!(sent, known.collect());
    assert!(COMMANDS.is_sorted());

    let operations = read("docs/operations.md");
    let (_, rule) = operations.split_once("    user lockstep on ").unwrap();
    let (rule, _) = rule.split_once("\n\n").unwrap();
    let granted = rule.split_whitespace().filter_map(|word| word.strip_prefix('+'));
    assert_eq!(sent, granted.map(str::to_uppercase).collect());
}

/// Only the commit writes, after all steps of a script have decided, and the runner where it remembers a torn call. Steps
/// of a migration decide nothing.
#[test]
fn scripts_write_only_at_the_commit() {
    let writes = [
        "'SET'",
        "'MSET'",
        "'DEL'",
        "'RPUSH'",
        "'LPUSH'",
        "'ZADD'",
        "'ZREM",
        "'HSET'",
        "'INCR",
        "'PEXPIRE'",
    ];
    let decides = |file: &PathBuf| {
        let commits = file.ends_with("runner.lua") || file.ends_with("commit.lua");
        !commits && !file.starts_with("migrations-lua/once")
    };
    for file in files("migrations-lua", "lua").into_iter().filter(decides) {
        for (number, line) in read(&file).lines().enumerate() {
            let calls = line.contains("redis.call") || line.contains("redis.pcall");
            let write = writes.iter().any(|write| line.contains(write));
            assert!(!(calls && write), "{}:{} writes for itself", file.display(), number + 1);
        }
    }
}

/// A limit that scripts enforce has one value: the constants of `types/limits.rs` and those of the
/// same name in Lua are equal, and each stands in Lua at all.
#[test]
fn limits_are_the_same_in_lua() {
    use types::limits;
    let limits = BTreeMap::from([
        ("MAX_SAFE_INTEGER", limits::MAX_SAFE_INTEGER),
        ("MAX_QUANTITY", limits::MAX_QUANTITY),
        ("MAX_DIGITS", limits::MAX_DIGITS as i64),
        ("MAX_TOTAL_DIGITS", limits::MAX_TOTAL_DIGITS as i64),
        ("MAX_HOLDS", limits::MAX_HOLDS as i64),
        ("MAX_EXTENSIONS", limits::MAX_EXTENSIONS as i64),
        ("MAX_TOTAL_MS", limits::MAX_TOTAL_MS),
    ]);
    let mut found = BTreeSet::new();
    for file in files("migrations-lua", "lua") {
        for line in read(&file).lines() {
            // A constant that a shared file exports is no local.
            let definition = line.strip_prefix("local ").unwrap_or(line);
            let Some((name, value)) = definition.split_once(" = ") else { continue };
            let Some(limit) = limits.get(name) else { continue };
            // Durations are written as products: 24 * 3600 * 1000.
            let factors = value.split('*').map(|factor| factor.trim().parse::<i64>());
            let value = factors.product::<Result<i64, _>>();
            assert_eq!(value, Ok(*limit), "{name} in {}", file.display());
            found.insert(name.to_owned());
        }
    }
    assert_eq!(found.len(), limits.len(), "of the limits, Lua has only {found:?}");
}

/// Names of files that do not say what is inside.
#[test]
fn no_file_is_called_utils() {
    for file in files("src", "rs") {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        assert!(
            !["utils", "util", "helpers", "helper", "manager", "common", "misc"].contains(&stem),
            "{}",
            file.display()
        );
    }
}

/// No dependency asks for a newer Rust than `rust-version` of Cargo.toml. Clippy looks at our own code.
#[test]
fn dependencies_build_with_the_oldest_rust() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let version = |text: &str| -> Vec<u32> {
        text.split('.').map(|number| number.parse().unwrap()).chain([0]).take(3).collect()
    };
    let oldest = version(env!("CARGO_PKG_RUST_VERSION"));
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{}", packages.len());
    for package in packages {
        let needed = package["rust_version"].as_str().map_or(vec![], version);
        assert!(needed <= oldest, "{} needs Rust {needed:?}", package["name"]);
    }
}

/// Words that the vocabulary has given up, each with the word that stands for it now. A word matches
/// whole words, one with a capital only in code, and a text with a blank anywhere.
const RETIRED: &[(&str, &str)] = &[
    ("Lane", "BatchWorker"),
    ("MAX_ROUNDS", "MAX_CONCURRENT_BATCHES"),
    ("Begun", "PendingReply"),
    ("Ended", "Completions"),
    ("Told", "CallResult"),
    ("Again", "Retry"),
    ("Turns", "SingleFlight"),
    ("run_all", "run_atomically"),
    ("is_carried", "runs_in_host"),
    ("carrier", "host_script"),
    ("Minted", "GeneratedId"),
    ("minted", "generated"),
    ("minted_key", "generated_key"),
    ("mint", "generated_id"),
    ("found_key", "derived_key"),
    ("found_arg", "derived_arg"),
    ("Answered", "RedisValue"),
    ("patience", "timeout"),
    ("entrance", "middleware"),
    ("emptied", "drained"),
    ("Composable", "CommandEntry"),
    ("no_object", "not_an_object"),
    ("FARTHEST", "MAX_SAFE_INTEGER"),
    ("MoveMoney", "ExternalTransfer"),
    ("Moved", "Receipt"),
    ("Freezing", "a noun"),
    ("Opening", "a noun"),
    ("Capturing", "a noun"),
    ("Cancelling", "a noun"),
    ("Question", "CheckRequest"),
    ("Verdict", "Decision"),
    ("Walk", "ListPage"),
    ("Walked", "ListReply"),
    ("looked_at", "scanned"),
    ("keep_tidy", "run"),
    ("keep_up", "run_upkeep"),
    ("refuses_what_is_no_page", "rejects_invalid_paging"),
    ("the frame", "the runner"),
    ("is told its end", "learns how it ended"),
    ("nobody counts", "must not increment metrics"),
    ("whoever", "a subject"),
];

/// The same for Lua: these match as they are written here.
const RETIRED_LUA: &[(&str, &str)] = &[
    ("live[", "open_records"),
    ("stored(", "read_record"),
    ("broken(", "fail_corrupt"),
    ("forget_changes", "rollback"),
    ("forget = true", "replayable = false"),
    ("run_once", "run_idempotent"),
    ("queued[", "deferred_writes"),
    ("another_version", "check_version"),
    ("crossed(", "low_stock_change"),
    ("barred(", "status_refusal"),
    ("data_fitness", "data_precheck"),
    ("'ALONE'", "NOT_ISOLATED"),
    ("\nALONE\n", "OWN SCRIPT"),
    ("minted", "generated"),
];

/// The vocabulary is one: a word that was given up does not come back.
#[test]
fn retired_words_stay_out() {
    let roots = [
        ("src", "rs"),
        ("tests", "rs"),
        ("benches", "rs"),
        ("docs", "md"),
        ("migrations-lua", "md"),
    ];
    let mut found = Vec::new();
    for file in roots.into_iter().flat_map(|(root, extension)| files(root, extension)) {
        if file.ends_with("contracts.rs") || file.ends_with("glossary.md") {
            continue;
        }
        for (number, line) in read(&file).lines().enumerate() {
            for (word, instead) in RETIRED {
                // A sentence may begin with a word that no type may have as its name.
                let is_type = word.starts_with(char::is_uppercase);
                let code = line.split("//").next().unwrap_or_default();
                if contains_word(if is_type { code } else { line }, word) {
                    let place = format!("{}:{}", file.display(), number + 1);
                    found.push(format!("{place}: {word:?}, now {instead}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} retired words:\n{}", found.len(), found.join("\n"));
}

#[test]
fn retired_words_stay_out_of_lua() {
    let mut found = Vec::new();
    for file in files("migrations-lua", "lua") {
        let text = read(&file);
        for (word, instead) in RETIRED_LUA {
            let before = text.matches(*word).count();
            if before > 0 {
                found.push(format!("{}: {word:?} {before} times, now {instead}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{} retired words:\n{}", found.len(), found.join("\n"));
}

/// A comment is a sentence with a subject and a verb. A few may open with a question word, where that
/// is the subject of a sentence.
#[test]
fn comments_do_not_open_with_a_question_word() {
    let roots = [("src", "rs"), ("tests", "rs"), ("benches", "rs"), ("migrations-lua", "lua")];
    let questions = ["What", "How", "Whether", "Why", "Who", "Whose", "Where"];
    let (mut blocks, mut found) = (0, Vec::new());
    for file in roots.into_iter().flat_map(|(root, extension)| files(root, extension)) {
        let text = read(&file);
        let mut inside = false;
        for (number, line) in text.lines().enumerate() {
            let comment = comment(line);
            if let Some(comment) = comment.filter(|_| !inside) {
                blocks += 1;
                let first = comment.split(|it: char| !it.is_alphabetic()).next();
                if questions.contains(&first.unwrap_or_default()) {
                    found.push(format!("{}:{}: {comment}", file.display(), number + 1));
                }
            }
            inside = comment.is_some();
        }
    }
    assert!(blocks > 400, "{blocks}");
    assert!(
        20 * found.len() <= blocks,
        "{} of {blocks} comments open with a question word:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn every_source_file_says_what_it_holds() {
    let silent: Vec<_> = files("src", "rs")
        .into_iter()
        .filter(|file| !read(file).starts_with("//! "))
        .map(|file| file.display().to_string())
        .collect();
    assert!(silent.is_empty(), "{} files without //!:\n{}", silent.len(), silent.join("\n"));
}

/// One type name stands for one thing. Types inside a function are its own business.
#[test]
fn every_type_has_a_name_of_its_own() {
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files("src", "rs") {
        for line in read(&file).lines() {
            // Only items of a module are not indented.
            let item = line.strip_prefix("pub ").or(line.strip_prefix("pub(crate) "));
            let item = item.or(line.strip_prefix("pub(super) ")).unwrap_or(line);
            let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
            let Some(rest) = kinds.iter().find_map(|kind| item.strip_prefix(kind)) else {
                continue;
            };
            let name = rest.split(|it: char| !it.is_alphanumeric() && it != '_').next().unwrap();
            known.entry(name.to_owned()).or_default().push(file.display().to_string());
        }
    }
    assert!(known.len() > 100, "{}", known.len());
    let twice: Vec<_> = known.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(twice.is_empty(), "{} names stand for several types: {twice:#?}", twice.len());
}

#[test]
fn no_function_is_longer_than_a_screen() {
    const MOST: usize = 60;
    let mut long = Vec::new();
    for file in files("src", "rs") {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let item = line.trim_start();
            let words: Vec<&str> = item.split_whitespace().take_while(|it| *it != "fn").collect();
            let is_function = words.len() < item.split_whitespace().count()
                && words.iter().all(|word| {
                    word.starts_with("pub") || ["async", "const", "unsafe", "extern"].contains(word)
                });
            if !is_function {
                continue;
            }
            let indent = &line[..line.len() - item.len()];
            let end = lines[start..].iter().position(|line| {
                line.strip_prefix(indent).is_some_and(|rest| {
                    rest.starts_with('}') || (!rest.starts_with(' ') && rest.ends_with([';', '}']))
                })
            });
            let length = end.unwrap_or(0) + 1;
            if length > MOST {
                long.push(format!("{}:{}: {length} lines", file.display(), start + 1));
            }
        }
    }
    assert!(long.is_empty(), "functions over {MOST} lines:\n{}", long.join("\n"));
}

/// A relative link of a document leads to a file, and its anchor to a heading there.
#[test]
fn links_of_documents_lead_somewhere() {
    let folders = ["docs", "examples", "migrations-lua", ".github"];
    let mut documents: Vec<_> = folders.into_iter().flat_map(|root| files(root, "md")).collect();
    let top = fs::read_dir(".").unwrap().map(|entry| entry.unwrap().path());
    documents.extend(top.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    let (mut links, mut broken) = (0, Vec::new());
    for document in documents {
        for line in prose(&read(&document)) {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                links += 1;
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = match path {
                    "" => document.clone(),
                    _ => document.parent().unwrap().join(path),
                };
                let leads = file.exists() && (anchor.is_empty() || anchors(&file).contains(anchor));
                if !leads {
                    broken.push(format!("{}: {target}", document.display()));
                }
            }
        }
    }
    assert!(links > 200, "{links}");
    assert!(broken.is_empty(), "{} broken links:\n{}", broken.len(), broken.join("\n"));
}

/// The anchors of a document's headings, as GitHub makes them: in lower case, without punctuation, and
/// with hyphens for blanks.
fn anchors(document: &Path) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
        kept.collect::<String>().replace(' ', "-")
    };
    let text = read(document);
    prose(&text).filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// The lines of a document that stand in no block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The Redis user of `docs/operations.md` has the right to every command that the service sends.
#[test]
fn the_documented_user_has_all_rights() {
    let text = read("docs/operations.md");
    let (_, user) = text.split_once("    user lockstep ").unwrap();
    let (user, _) = user.split_once("\n\n").unwrap();
    let rights: BTreeSet<_> = user.split_whitespace().collect();
    for command in store::COMMANDS {
        let right = format!("+{}", command.to_lowercase());
        assert!(rights.contains(right.as_str()), "{right} is missing");
    }
}

/// True where a line contains a word; a text with a blank is contained anywhere.
fn contains_word(line: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_part);
        let after = line[at + word.len()..].chars().next().is_some_and(is_part);
        word.contains(' ') || !before && !after
    })
}

/// The text of a line that is a comment of Rust or Lua and nothing else.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = ["//!", "///", "//", "---", "--"].iter().find_map(|mark| line.strip_prefix(mark))?;
    // Headers of scripts and lines of include are data.
    let is_data = line.starts_with("--[[") || line.starts_with("--- @");
    (!is_data).then(|| text.trim_start())
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sources that a script includes, directly and indirectly.
fn included(source: &str) -> Vec<String> {
    let paths =
        source.lines().filter_map(|line| line.strip_prefix("--- @include \"")?.strip_suffix('"'));
    paths
        .flat_map(|path| {
            let own = read(format!("migrations-lua/{path}.lua"));
            let mut all = included(&own);
            all.push(own);
            all
        })
        .collect()
}

fn files(root: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        // A folder that is not there has no files.
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found
}
