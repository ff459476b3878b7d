//! Facts about a request that are known before its handler runs: its id, its trace and its limits.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use super::{AccessControl, Observation};
use crate::{api::BodyRoom, auth::Principal};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: &str = "traceparent";

/// Limits of one request.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest time from the end of the head to the end of the body; for a stream, longest pause
    /// between two parts of it.
    pub body_timeout: Duration,
    /// Most bytes of a body; a stream has no such limit.
    pub body_bytes: usize,
    /// The memory for bodies, which all requests share.
    pub body_room: BodyRoom,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_timeout: Duration::from_secs(10),
            body_bytes: 262_144,
            body_room: BodyRoom::of_bytes(1 << 28),
        }
    }
}

/// Request extension of every request: what its handler and its problems need.
#[derive(Clone)]
pub struct RequestInfo {
    /// Its limits.
    pub limits: Limits,
    /// Its id, which the answer carries as `X-Request-Id`.
    pub request_id: HeaderValue,
    /// The trace id of its caller, 32 hexadecimal digits, if the request has a `traceparent`.
    pub trace_id: Option<Arc<str>>,
    /// The prefix of all paths of this service, such as `/lockstep`; empty without one.
    pub base_path: Arc<str>,
    /// The statistics that the call goes into.
    pub observation: Arc<Observation>,
    /// The check of callers' keys; `None` where the service has none.
    pub access: Option<Arc<AccessControl>>,
    /// The caller, as the key of the request makes it known.
    pub principal: Option<Arc<Principal>>,
}

impl RequestInfo {
    /// Reads the id and the trace of a request from its headers.
    pub fn of(
        headers: &HeaderMap,
        limits: Limits,
        base_path: Arc<str>,
        observation: Arc<Observation>,
        access: Option<Arc<AccessControl>>,
    ) -> RequestInfo {
        let trace_id = trace_id(headers).map(Arc::from);
        let request_id = request_id(headers);
        RequestInfo {
            limits,
            request_id,
            trace_id,
            base_path,
            observation,
            access,
            principal: None,
        }
    }

    /// The id as text.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }
}

/// The value of `X-Request-Id` if it is 1 to 128 visible ASCII characters, and otherwise a new
/// UUIDv7.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(&REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    });
    // A copy, because the value of a header keeps the whole buffer that the head was read into.
    given.and_then(|given| HeaderValue::from_bytes(given.as_bytes()).ok()).unwrap_or_else(|| {
        let mut buffer = Uuid::encode_buffer();
        let id: &str = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

/// The trace id of the caller: the second part of `traceparent` (W3C Trace Context), 32 hexadecimal
/// digits.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let parent = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = parent.split('-');
    let id = parts.nth(1)?;
    let hexadecimal = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (id.len() == 32 && hexadecimal && parts.count() >= 2).then_some(id)
}
