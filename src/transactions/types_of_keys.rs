use std::collections::HashMap;

use crate::{
    api::Problem,
    data::{self, Command, Word},
    store::Seen,
    types::Id,
};

/// Refuses commands that would fail on what the keys hold when their turn comes, so that none of them
/// does: those before it would have happened already.
///
/// # Errors
///
/// The first of them, with a pointer to it.
pub fn check(commands: &[Command], seen: &HashMap<&Id, &Seen>) -> Result<(), Problem> {
    let mut keys: HashMap<&Id, Seen> =
        seen.iter().map(|(key, seen)| (*key, (*seen).clone())).collect();
    for (index, command) in commands.iter().enumerate() {
        let Some(held) = keys.get_mut(&command.key) else { continue };
        let next = after(command, held).map_err(|(actual, needed)| {
            let members = [
                ("key", command.key.as_str().into()),
                ("actual", actual.into()),
                ("needed", needed.into()),
            ];
            let problem = Problem::refused(data::CODES, "wrong_type", members);
            let pointer = format!("/operations/{index}");
            let error = serde_json::json!({ "pointer": pointer, "detail": problem.detail() });
            problem.with("errors", vec![error])
        })?;
        *held = next;
    }
    Ok(())
}

/// What a key holds after a command; or what it holds and what the command needs.
fn after(command: &Command, held: &Seen) -> Result<Seen, (String, &'static str)> {
    let nothing = held.kind == "none";
    if let Some(needed) = command.word.needs()
        && !nothing
        && held.kind != needed
    {
        return Err((format!("a {}", held.kind), with_article(needed)));
    }
    let string = |text: Vec<u8>| Seen { kind: "string".to_owned(), text: Some(text) };
    match command.word {
        Word::Set => Ok(string(command.arguments.first().cloned().unwrap_or_default())),
        Word::Del => Ok(Seen { kind: "none".to_owned(), text: None }),
        Word::Incr | Word::Decr => {
            let text = held.text.as_deref().unwrap_or(b"0");
            let by = command.arguments.first().and_then(|by| integer(by)).unwrap_or_default();
            let next = integer(text).and_then(|number| match command.word {
                Word::Incr => number.checked_add(by),
                _ => number.checked_sub(by),
            });
            let next = next.ok_or_else(|| {
                (
                    format!("{:?}", String::from_utf8_lossy(text)),
                    "a number that stays within 64 bits",
                )
            })?;
            Ok(string(next.to_string().into_bytes()))
        }
        Word::Get | Word::Hget | Word::Expire => Ok(held.clone()),
        Word::Hset | Word::Lpush | Word::Rpush | Word::Sadd | Word::Zadd => {
            Ok(Seen { kind: command.word.needs().unwrap_or_default().to_owned(), text: None })
        }
    }
}

/// A number as Redis takes one to count with: plainly written, within 64 bits.
fn integer(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

fn with_article(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "hash" => "a hash",
        "list" => "a list",
        "set" => "a set",
        _ => "a sorted set",
    }
}
