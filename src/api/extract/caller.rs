//! Headers that every call takes: `Lockstep-Space` and `Idempotency-Key`.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};

use crate::{
    api::Problem,
    store::Context,
    types::{Id, codes},
};

const SPACE: &str = "lockstep-space";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Request extension: [`super::Query`] has read the query string.
#[derive(Debug, Clone)]
pub(super) struct QueryIsRead;

/// The space of a call and its idempotency key.
///
/// It also refuses a query string that nothing has read, with `invalid_query`. A handler that takes
/// [`super::Query`] takes it before this.
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

fn space(headers: &HeaderMap) -> Result<Id, Problem> {
    let refuse = |detail: &str| {
        Problem::new(codes::INVALID_ID, format_args!("The header Lockstep-Space: {detail}"))
            .with("header", "Lockstep-Space")
    };
    let mut values = headers.get_all(SPACE).iter();
    let name = values.next().map_or(Ok("main"), |value| value.to_str()).unwrap_or_default();
    if values.next().is_some() {
        // A client and a gateway may each have set one; neither can be preferred silently.
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

/// Reads an idempotency key, bare or in double quotes, and returns it without them.
///
/// # Errors
///
/// `idempotency_key_invalid` if it is not 1 to 255 visible ASCII characters.
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
