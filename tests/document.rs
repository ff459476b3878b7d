//! Tests of what others make of the OpenAPI document: linters, generators of clients, and a fuzzer.
//!
//! `make check-document` installs these programs in `target/tools/document` and runs the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use process::Service;

/// A program that `make check-document` has installed, with this working directory.
fn tool(name: &str, folder: &Path) -> Command {
    let tools = fs::canonicalize("target/tools/document").expect("make check-document installs it");
    let places = [tools.join("node_modules/.bin").join(name), tools.join("venv/bin").join(name)];
    let program = places.iter().find(|place| place.exists());
    let mut command = Command::new(program.unwrap_or_else(|| panic!("{name} is not installed")));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs a program to its end, and returns what it wrote. Panics where it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let written = [output.stdout, output.stderr].concat();
    let written = String::from_utf8_lossy(&written).into_owned();
    assert!(output.status.success(), "{command:?}:\n{written}");
    written
}

fn document() -> PathBuf {
    fs::canonicalize("openapi/openapi.json").unwrap()
}

#[test]
#[ignore = "make check-document runs it"]
fn linters_have_nothing_to_say() {
    let folder = document().parent().unwrap().to_owned();
    let lint = ["lint", "openapi.json"];
    let said =
        run(tool("redocly", &folder).args(lint).env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true"));
    assert!(!said.contains("warning"), "{said}");
    let strict = ["--ruleset", "spectral.yaml", "--fail-severity", "hint"];
    run(tool("spectral", &folder).args(lint).args(strict));
}

#[test]
#[ignore = "make check-document runs it"]
fn a_client_in_typescript_compiles_and_works() {
    let service = Service::start("document-typescript");
    let folder = &service.folder;
    for file in ["client.ts", "tsconfig.json"] {
        fs::copy(Path::new("tests/clients").join(file), folder.join(file)).unwrap();
    }
    let modules = fs::canonicalize("target/tools/document/node_modules").unwrap();
    std::os::unix::fs::symlink(modules, folder.join("node_modules")).unwrap();
    fs::write(folder.join("package.json"), r#"{ "type": "module" }"#).unwrap();
    run(tool("openapi-typescript", folder).arg(document()).args(["-o", "lockstep.d.ts"]));
    run(&mut tool("tsc", folder));
    run(Command::new("node")
        .arg("client.js")
        .env("LOCKSTEP_URL", &service.url)
        .current_dir(folder));
}

#[test]
#[ignore = "make check-document runs it"]
fn a_client_in_python_works() {
    let service = Service::start("document-python");
    let folder = &service.folder;
    fs::copy("tests/clients/client.py", folder.join("client.py")).unwrap();
    let said = run(tool("openapi-python-client", folder)
        .args(["generate", "--meta", "none", "--output-path", "lockstep_client", "--path"])
        .arg(document()));
    // It has no streams, and makes everything else.
    let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("WARNING")).collect();
    assert_eq!(
        warnings,
        ["WARNING parsing POST /bulk within bulk. Endpoint will not be generated."]
    );
    run(tool("python", folder).arg("client.py").env("LOCKSTEP_URL", &service.url));
}

/// Calls of every operation, of those that the document allows and of those that it does not. The seed
/// is fixed, and the checks are all that the program has; `tests/fuzz/` lists the exceptions.
#[test]
#[ignore = "make check-document runs it"]
fn calls_are_answered_as_described() {
    let service = Service::start("document-fuzz");
    for file in ["schemathesis.toml", "hooks.py"] {
        fs::copy(Path::new("tests/fuzz").join(file), service.folder.join(file)).unwrap();
    }
    let said = run(tool("schemathesis", &service.folder)
        .args([
            "--config-file",
            "schemathesis.toml",
            "run",
            "--phases",
            "examples,coverage,fuzzing",
        ])
        .args(["--max-examples", "30"])
        .arg(format!("{}/openapi.json", service.url)));
    let cases =
        said.lines().find_map(|line| line.trim().split_once(" generated, ")?.0.parse().ok());
    assert!(cases > Some(5000), "{cases:?} cases");
}
