//! Runs the tour of README.md as it stands, and compares each answer with the one that is shown.
//!
//! The `sh` blocks run in one bash, from top to bottom, against a service that is started for them. The
//! block that follows shows what they print, with `...` for what is left out. Ids, instants, waits and
//! fencing tokens differ from run to run: they need the same form, and an id that is shown twice has to
//! come twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{fs, path::Path, process::Command};

use process::Service;
use serde_json::Value;

/// The address of the service in the README.
const SHOWN_URL: &str = "http://127.0.0.1:8080";
/// Printed after each block, to tell their answers apart.
const END_OF_BLOCK: &str = "=== end of block ===";
/// Stands for members or lines that are left out.
const LEFT_OUT: &str = "...";

#[test]
fn the_readme_shows_what_its_tour_prints() {
    let steps = steps(&tour());
    assert!(steps.len() >= 40, "only {} blocks were found", steps.len());
    let service = Service::start("tour");
    let printed = run(&steps, &service);
    assert_eq!(printed.len(), steps.len(), "a block has an open quote, or ends the shell");
    let mut comparison = Comparison::default();
    let mut wrong = Vec::new();
    for (step, printed) in steps.iter().zip(&printed) {
        if let Err(reason) = comparison.answer(&step.shown, printed) {
            let Step { line, script, .. } = step;
            wrong.push(format!("README.md:{line}: {reason}\n{script}printed:\n{printed}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), steps.len(), wrong.join("\n\n"));
}

/// The text between the heading of the tour and the next one of its rank. Lines before it are empty, so
/// that line numbers are those of the file.
fn tour() -> String {
    let readme = fs::read_to_string("README.md").unwrap();
    let start = readme.find("\n## Tour\n").expect("a section Tour") + 1;
    let end = start + readme[start..].find("\n## ").expect("a section after the tour");
    "\n".repeat(readme[..start].lines().count()) + &readme[start..end]
}

/// A block of commands, and what it is said to print.
#[derive(Debug, Default)]
struct Step {
    /// Where the block begins.
    line: usize,
    script: String,
    /// Empty where no answer is shown.
    shown: String,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open = None;
    for (index, line) in text.lines().enumerate() {
        let step = steps.last_mut();
        match (open, line.strip_prefix("```"), step) {
            (None, Some("sh"), _) => {
                open = Some("sh");
                steps.push(Step { line: index + 1, ..Step::default() });
            }
            (None, Some(language @ ("json" | "text" | "http")), Some(step)) => {
                assert!(step.shown.is_empty(), "line {}: a second answer", index + 1);
                open = Some(language);
            }
            (None, Some(other), _) => panic!("line {}: a block of {other:?}", index + 1),
            (Some(_), Some(""), _) => open = None,
            (Some("sh"), _, Some(step)) => step.script += &format!("{line}\n"),
            (Some(_), _, Some(step)) => step.shown += &format!("{line}\n"),
            _ => {}
        }
    }
    steps
}

/// What each block printed, complaints of the shell included.
fn run(steps: &[Step], service: &Service) -> Vec<String> {
    for program in ["bash", "curl"] {
        let found = Command::new(program).arg("--version").output().is_ok();
        assert!(found, "the tour needs {program}: install it, as make test does");
    }
    let mut script = "exec 2>&1\n".to_owned();
    for step in steps {
        script += &format!("{}printf '\\n{END_OF_BLOCK}\\n'\n", step.script);
    }
    let file = service.folder.join("tour.sh");
    fs::write(&file, script.replace(SHOWN_URL, &service.url)).unwrap();
    let output = Command::new("bash").arg(&file).current_dir(&service.folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let end = format!("\n{END_OF_BLOCK}\n");
    text.split_terminator(&end).map(str::to_owned).collect()
}

/// A part of an answer.
#[derive(Debug)]
enum Part {
    Line(String),
    Json(Value),
    /// Any number of lines.
    LeftOut,
}

/// Reads an answer, in which a JSON document may be wrapped at any blank.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        parts.push(match line {
            LEFT_OUT => Part::LeftOut,
            line if line.starts_with('{') => {
                let mut document = line.to_owned();
                loop {
                    match serde_json::from_str(&with_left_out_as_members(&document)) {
                        Ok(value) => break Part::Json(value),
                        Err(error) if error.is_eof() => {
                            let line =
                                lines.next().ok_or_else(|| format!("{error}: {document}"))?;
                            document += line;
                        }
                        Err(error) => return Err(format!("{error}: {document}")),
                    }
                }
            }
            line => Part::Line(line.to_owned()),
        });
    }
    Ok(parts)
}

/// Makes JSON of `{"a":1, ...}`: what is left out becomes a member of that name.
fn with_left_out_as_members(text: &str) -> String {
    let mut json = String::new();
    // Every other piece stands between quotes; none of the quotes in the tour is escaped before `...`.
    for (index, piece) in text.split('"').enumerate() {
        let piece = match index % 2 {
            0 => &piece.replace(LEFT_OUT, "\"...\":0"),
            _ => piece,
        };
        json += if index == 0 { "" } else { "\"" };
        json += piece;
    }
    json
}

/// Compares answers in turn and remembers which id stands for which.
#[derive(Debug, Default)]
struct Comparison {
    /// What is shown, and what came.
    ids: Vec<(String, String)>,
}

impl Comparison {
    /// Fails with the first difference, in words.
    fn answer(&mut self, shown: &str, printed: &str) -> Result<(), String> {
        let mut printed = parts(printed)?.into_iter();
        let mut may_skip = false;
        for part in parts(shown)? {
            if let Part::LeftOut = part {
                may_skip = true;
                continue;
            }
            loop {
                let candidate =
                    printed.next().ok_or_else(|| format!("nothing is left for {part:?}"))?;
                match self.part(&part, &candidate) {
                    Ok(()) => break,
                    Err(_) if may_skip && matches!(candidate, Part::Line(_)) => {}
                    Err(reason) => return Err(reason),
                }
            }
            may_skip = false;
        }
        match printed.next() {
            Some(rest) if !may_skip => Err(format!("it is not shown that this comes: {rest:?}")),
            _ => Ok(()),
        }
    }

    fn part(&mut self, shown: &Part, printed: &Part) -> Result<(), String> {
        match (shown, printed) {
            (Part::Json(shown), Part::Json(printed)) => self.value(shown, printed, ""),
            (Part::Line(shown), Part::Line(printed)) => self.text(shown, printed),
            _ => Err(format!("{shown:?} is shown, and {printed:?} came")),
        }
    }

    fn value(&mut self, shown: &Value, printed: &Value, at: &str) -> Result<(), String> {
        match (shown, printed) {
            (Value::Object(shown), Value::Object(printed)) => {
                let extra = printed.keys().find(|name| !shown.contains_key(*name));
                if let (Some(extra), false) = (extra, shown.contains_key(LEFT_OUT)) {
                    return Err(format!("{at}/{extra} is not shown"));
                }
                for (name, shown) in shown.iter().filter(|(name, _)| *name != LEFT_OUT) {
                    let at = format!("{at}/{name}");
                    let printed = printed.get(name).ok_or_else(|| format!("{at} did not come"))?;
                    match (shown.as_u64(), printed.as_u64()) {
                        // A wait is none in both or in neither.
                        (Some(shown), Some(printed))
                            if varies(name) && (shown == 0) == (printed == 0) => {}
                        _ => self.value(shown, printed, &at)?,
                    }
                }
                Ok(())
            }
            (Value::Array(shown), Value::Array(printed)) if shown.len() == printed.len() => {
                let mut pairs = shown.iter().zip(printed).enumerate();
                pairs.try_for_each(|(index, (a, b))| self.value(a, b, &format!("{at}/{index}")))
            }
            (Value::String(shown), Value::String(printed)) => {
                self.text(shown, printed).map_err(|reason| format!("{at}: {reason}"))
            }
            _ if shown == printed => Ok(()),
            _ => Err(format!("{at}: {shown} is shown, and {printed} came")),
        }
    }

    /// Compares word by word.
    fn text(&mut self, shown: &str, printed: &str) -> Result<(), String> {
        let [a, b] = [shown, printed].map(|text| text.split(' ').collect::<Vec<_>>());
        let differ = || format!("{shown:?} is shown, and {printed:?} came");
        if a.len() != b.len() {
            return Err(differ());
        }
        for (index, (&shown, &printed)) in a.iter().zip(&b).enumerate() {
            let is_wait = a.get(index + 1).is_some_and(|unit| unit.starts_with("ms"))
                || (index == 1 && a[0] == "retry-after:");
            let same = match (Word::of(shown), Word::of(printed)) {
                (Word::Id, Word::Id) => self.same_id(shown, printed),
                (Word::Instant, Word::Instant) => true,
                (Word::Number, Word::Number) if is_wait => true,
                // The seconds to wait are the last parameter of this header.
                _ if a[0] == "ratelimit:" => shown.split("t=").next() == printed.split("t=").next(),
                _ => shown == printed,
            };
            if !same {
                return Err(differ());
            }
        }
        Ok(())
    }

    /// An id stands for one id, and for no other one, from its first place on.
    fn same_id(&mut self, shown: &str, printed: &str) -> bool {
        if let Some(known) = self.ids.iter().find(|(a, b)| a == shown || b == printed) {
            return *known == (shown.to_owned(), printed.to_owned());
        }
        let kind = |id: &str| id.split_once('_').map(|(kind, _)| kind.to_owned());
        self.ids.push((shown.to_owned(), printed.to_owned()));
        kind(shown) == kind(printed)
    }
}

/// The members whose numbers depend on when the tour is run.
fn varies(member: &str) -> bool {
    member == "fencing_token" || member.ends_with("_ms")
}

/// What a word is by its form.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// `tx_`, `hold_`, `res_` or `lease_` and 32 hexadecimal digits, or a UUID.
    Id,
    /// Of RFC 3339, in UTC.
    Instant,
    Number,
    Other,
}

impl Word {
    fn of(word: &str) -> Word {
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = match word.split_once('_') {
            Some(("tx" | "hold" | "res" | "lease", id)) => id.len() == 32 && hex(id),
            _ => word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && word.split('-').all(hex),
        };
        let instant = word.len() == "2026-01-01T00:00:00.000Z".len()
            && word.ends_with('Z')
            && word.split(['-', 'T', ':', '.', 'Z']).filter(|part| digits(part)).count() == 7;
        match word {
            _ if id => Word::Id,
            _ if instant => Word::Instant,
            _ if digits(word) => Word::Number,
            _ => Word::Other,
        }
    }
}

/// A comparison that finds everything right would be of no use.
#[test]
fn what_differs_is_found() {
    let tx = |digit: &str| format!("tx_{}", digit.repeat(32));
    let (a, b) = (tx("a"), tx("b"));
    let shown = format!(
        "HTTP/1.1 201 Created\netag: \"1\"\n...\n\n{{\"id\":\"{a}\",\"amount\":\"2.50\",\n \
         \"wait_ms\":5,\"lines\":[{{\"n\":1, ...}}], ...}}\n{{\"at\":\"2026-11-26T13:00:06.001Z\",\"id\":\"{a}\"}}\n"
    );
    let printed = format!(
        "HTTP/1.1 201 Created\netag: \"1\"\ndate: now\n\n{{\"id\":\"{b}\",\"amount\":\"2.50\",\"wait_ms\":7,\
         \"lines\":[{{\"n\":1,\"m\":2}}],\"more\":null}}\n{{\"at\":\"2027-01-01T00:00:00.000Z\",\"id\":\"{b}\"}}\n"
    );
    let same = |printed: &str| Comparison::default().answer(&shown, printed);
    assert_eq!(same(&printed), Ok(()));
    for (from, to) in [
        ("201 Created", "200 OK"),
        ("etag: \"1\"", "etag: \"2\""),
        ("2.50", "2.51"),
        ("\"wait_ms\":7", "\"wait_ms\":0"),
        ("\"n\":1", "\"n\":2"),
        ("\"n\":1,", ""),
        ("{\"n\":1,\"m\":2}", ""),
        ("\"amount\"", "\"amounts\""),
        ("2027-01-01T00:00:00.000Z", "now"),
        ("{\"at\"", "{\"extra\":1,\"at\""),
        (b.as_str(), "tx_1"),
        (&format!("00.000Z\",\"id\":\"{b}"), &format!("00.000Z\",\"id\":\"{a}")),
    ] {
        let changed = printed.replace(from, to);
        assert_ne!(changed, printed, "{from}");
        assert!(same(&changed).is_err(), "{from} -> {to}");
    }
    assert!(same(&format!("{printed}curl: (7) Failed to connect\n")).is_err());
    assert!(same("").is_err());
    assert!(Comparison::default().answer("", "bash: jq: command not found\n").is_err());
}

/// A link that stays within the repository leads to a file or a folder.
#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    for file in ["README.md", "examples/README.md"] {
        let text = fs::read_to_string(file).unwrap();
        let folder = Path::new(file).parent().unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            if !link.is_empty() && !link.contains("://") && !folder.join(link).exists() {
                broken.push(format!("{file} links to {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
