//! Headers that every call takes: `Lockstep-Space`, `Idempotency-Key` and `Lockstep-Guard`. The space is checked here
//! against those that the caller's key may be used in, so that no handler can have one without the check.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};

use serde_json::json;

use crate::{
    api::{AccessControl, Problem, RequestInfo, check_space},
    auth::Principal,
    store::{Context, Guard},
    types::{FencingToken, Id, Invalid, codes},
};

const SPACE: &str = "lockstep-space";
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const GUARD: &str = "lockstep-guard";

/// The most guards of one call.
pub const MAX_GUARDS: usize = 16;

/// Request extension: [`super::Query`] has read the query string.
#[derive(Debug, Clone)]
pub(super) struct QueryIsRead;

/// The space of a call, its idempotency key and its guards.
///
/// It also refuses a query string that nothing has read, with `invalid_query`. A handler that takes
/// [`super::Query`] takes it before this.
#[derive(Debug)]
pub struct Caller(pub Context);

/// The space of a call whose other headers are those of somebody else: a gateway passes on what its own caller sent.
#[derive(Debug)]
pub struct CallerSpace(pub Id);

impl<S: Sync> FromRequestParts<S> for CallerSpace {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<CallerSpace, Problem> {
        space(parts).map(CallerSpace)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        let space = space(parts)?;
        context(parts, space).map(Caller)
    }
}

/// The caller of an operation on keys, which belong to no space: the check that has the keys, and the context of the
/// call in the space where they are stored.
pub struct KeyManager {
    /// The check of callers' keys.
    pub access: Arc<AccessControl>,
    /// The context.
    pub context: Context,
}

/// Fails with `keys_disabled` where the service has no keys.
impl<S: Sync> FromRequestParts<S> for KeyManager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<KeyManager, Problem> {
        let access = parts.extensions.get::<RequestInfo>().and_then(|info| info.access.clone());
        let access = access.ok_or(codes::KEYS_DISABLED)?;
        let context = context(parts, access.ring().space().clone())?;
        Ok(KeyManager { access, context })
    }
}

/// The context of a call in a space.
fn context(parts: &Parts, space: Id) -> Result<Context, Problem> {
    let query = parts.uri.query().unwrap_or_default();
    if !query.is_empty() && parts.extensions.get::<QueryIsRead>().is_none() {
        return Err(Problem::new(codes::INVALID_QUERY, "This call takes no query string."));
    }
    Ok(Context {
        space,
        idempotency_key: key_of(&parts.headers)?,
        guards: guards(&parts.headers)?,
        principal: principal(parts).cloned(),
    })
}

/// The caller, where the service has keys.
fn principal(parts: &Parts) -> Option<&Arc<Principal>> {
    parts.extensions.get::<RequestInfo>()?.principal.as_ref()
}

/// The space that the header names; without it, the only one of the caller's key, or `main`.
fn space(parts: &Parts) -> Result<Id, Problem> {
    let principal = principal(parts);
    let only = principal.and_then(|principal| principal.spaces().only());
    let space = match only.filter(|_| !parts.headers.contains_key(SPACE)) {
        Some(only) => only.clone(),
        None => named_space(&parts.headers)?,
    };
    principal.map_or(Ok(()), |principal| check_space(principal, &space))?;
    Ok(space)
}

fn named_space(headers: &HeaderMap) -> Result<Id, Problem> {
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

/// Reads all values of `Lockstep-Guard`. A gateway may have joined them with commas, which no id has.
fn guards(headers: &HeaderMap) -> Result<Vec<Guard>, Problem> {
    let mut guards = Vec::new();
    for value in headers.get_all(GUARD) {
        for text in value.to_str().unwrap_or_default().split(',') {
            let guard = guard(text).map_err(|invalid| refuse_guard(&invalid, guards.len()))?;
            guards.push(guard);
        }
    }
    if guards.len() > MAX_GUARDS {
        let invalid = Invalid::new("validation_failed", "A call has at most 16 guards.");
        return Err(refuse_guard(&invalid, MAX_GUARDS));
    }
    Ok(guards)
}

/// Reads one guard: `lock=<lock>;token=<fencing_token>`, in either order.
fn guard(text: &str) -> Result<Guard, Invalid> {
    let refuse = || {
        let detail = "A guard is lock=<lock>;token=<fencing_token>, each of the two once.";
        Invalid::new("validation_failed", detail)
    };
    let (mut lock, mut token) = (None, None);
    for parameter in text.split(';') {
        let (name, value) = parameter.split_once('=').ok_or_else(refuse)?;
        let place = match name.trim() {
            "lock" => &mut lock,
            "token" => &mut token,
            _ => return Err(refuse()),
        };
        if place.replace(value.trim()).is_some() {
            return Err(refuse());
        }
    }
    let (lock, token) = lock.zip(token).ok_or_else(refuse)?;
    // A number for Rust may begin with a plus.
    let is_number = token.bytes().all(|byte| byte.is_ascii_digit());
    let token = token.parse::<i64>().ok().filter(|_| is_number).unwrap_or_default();
    let fencing_token = FencingToken::try_from(token)?;
    Ok(Guard { lock: Id::try_from(lock.to_owned())?, fencing_token })
}

/// The problem of a guard of the header; `index` counts from 0.
fn refuse_guard(invalid: &Invalid, index: usize) -> Problem {
    let detail = &invalid.detail;
    let error =
        json!({ "pointer": "", "header": "Lockstep-Guard", "index": index, "detail": detail });
    Problem::new(
        codes::of_value(invalid.code),
        format_args!("In the header Lockstep-Guard: {detail}"),
    )
    .with("header", "Lockstep-Guard")
    .with("errors", vec![error])
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
