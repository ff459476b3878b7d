use std::fmt;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

use super::Problem;
use crate::{
    store::Context,
    types::{Id, codes},
};

const SPACE: &str = "lockstep-space";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Beside a request whose query string somebody has read.
#[derive(Debug, Clone)]
pub(super) struct QueryIsRead;

/// What the headers say of a call: in which space it happens, and under which key it happens once.
///
/// A handler that takes [`super::Query`] takes it before this: what nobody has read is refused here.
#[derive(Debug)]
pub struct Caller(pub Context);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        if !query.is_empty() && parts.extensions.get::<QueryIsRead>().is_none() {
            return Err(Problem::new(codes::INVALID_QUERY, "This call takes no query string."));
        }
        Ok(Caller(Context {
            space: space(&parts.headers)?,
            idempotency_key: key_of(&parts.headers)?,
        }))
    }
}

/// The versions that the header `If-Match` asks for, and nothing where any will do.
#[derive(Debug, Default)]
pub struct IfMatch(String);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IfMatch, Problem> {
        let values = parts.headers.get_all(header::IF_MATCH);
        let tags = values.iter().map(|value| value.to_str().unwrap_or("?"));
        let tags: Vec<&str> = tags.flat_map(|list| list.split(',')).map(str::trim).collect();
        if tags.is_empty() || tags == ["*"] {
            return Ok(IfMatch(String::new()));
        }
        // A tag of ours is a version between quotes; bare ones are understood too.
        let version = |tag: &str| {
            let quoted = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let version = quoted.unwrap_or(tag);
            let digits = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| version.to_owned())
        };
        let versions: Vec<String> = tags.into_iter().filter_map(version).collect();
        Ok(IfMatch(if versions.is_empty() { "another".to_owned() } else { versions.join(" ") }))
    }
}

impl fmt::Display for IfMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn space(headers: &HeaderMap) -> Result<Id, Problem> {
    let refuse = |detail: &str| {
        Problem::new(codes::INVALID_ID, format_args!("The header Lockstep-Space: {detail}"))
            .with("header", "Lockstep-Space")
    };
    let mut values = headers.get_all(SPACE).iter();
    let name = values.next().map_or(Ok("main"), |value| value.to_str()).unwrap_or_default();
    if values.next().is_some() {
        // Whoever added the second one meant it, and so did whoever sent the first.
        return Err(refuse("It is given once."));
    }
    Id::try_from(name.to_owned()).map_err(|invalid| refuse(&invalid.detail))
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(codes::IDEMPOTENCY_KEY_INVALID.into());
    }
    idempotency_key(value.to_str().unwrap_or_default()).map(Some)
}

/// An idempotency key, bare or in double quotes.
///
/// # Errors
///
/// Where it is not 1 to 255 visible ASCII characters.
pub fn idempotency_key(text: &str) -> Result<String, Problem> {
    let key = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or_default(),
        None => text,
    };
    let usable = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !usable {
        return Err(codes::IDEMPOTENCY_KEY_INVALID.into());
    }
    Ok(key.to_owned())
}
