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

/// What the headers say of a call: in which space it happens, and under which key it happens once.
#[derive(Debug)]
pub struct Caller(pub Context);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        Ok(Caller(Context {
            space: space(&parts.headers)?,
            idempotency_key: idempotency_key(&parts.headers)?,
        }))
    }
}

/// The version that the header `If-Match` asks for, and nothing where any will do.
#[derive(Debug)]
pub struct IfMatch(String);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IfMatch, Problem> {
        let tag = parts.headers.get(header::IF_MATCH).map_or("*", |tag| {
            // What is no text is no tag of ours either.
            tag.to_str().unwrap_or("?")
        });
        let quoted = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let version = match (tag, quoted) {
            ("*", _) => "",
            // What is not of our form is compared as it is, and is nobody's version.
            ("", _) => "\"\"",
            (tag, None | Some("")) => tag,
            (_, Some(version)) => version,
        };
        Ok(IfMatch(version.to_owned()))
    }
}

impl fmt::Display for IfMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn space(headers: &HeaderMap) -> Result<Id, Problem> {
    let name = headers.get(SPACE).map_or(Ok("main"), |value| value.to_str()).unwrap_or_default();
    Id::try_from(name.to_owned()).map_err(|invalid| {
        Problem::new(
            codes::INVALID_ID,
            format_args!("The header Lockstep-Space: {}", invalid.detail),
        )
        .with("header", "Lockstep-Space")
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let key = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or_default(),
        None => text,
    };
    let usable = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if values.next().is_some() || !usable {
        return Err(codes::IDEMPOTENCY_KEY_INVALID.into());
    }
    Ok(Some(key.to_owned()))
}
