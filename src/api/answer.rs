//! Answers to calls that succeed.

use std::fmt::Display;

use axum::{
    http::{Extensions, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Problem;
use crate::{store::Completed, types::codes};

/// The header on the stored answer to a repeated call: `Idempotent-Replayed: true`.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The header with the least number of replicas that have what the call wrote, where it waited for them.
pub const REPLICAS: HeaderName = HeaderName::from_static("lockstep-replicas");

/// The room for a body before its length is known. It is enough for nearly all, so that they are written without being
/// moved to a larger place.
const BODY_CAPACITY: usize = 1536;

/// The answer to a call that succeeded: a status, a body of type `T`, and headers.
#[derive(Debug)]
pub struct Answer<T> {
    status: StatusCode,
    body: T,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What layers around the handlers read.
    extensions: Extensions,
}

impl<T> Answer<T> {
    /// Status 200, for a read or a change.
    pub fn ok(completed: Completed<T>) -> Answer<T> {
        Answer::new(StatusCode::OK, completed)
    }

    /// Status 201, for a new resource.
    pub fn created(completed: Completed<T>) -> Answer<T> {
        Answer::new(StatusCode::CREATED, completed)
    }

    fn new(status: StatusCode, completed: Completed<T>) -> Answer<T> {
        let headers = match completed.replayed {
            true => vec![(REPLAYED, HeaderValue::from_static("true"))],
            false => Vec::new(),
        };
        Answer { status, body: completed.reply, headers, extensions: Extensions::new() }
    }

    /// The same answer with its body serialised as JSON.
    ///
    /// # Errors
    ///
    /// `internal_error` if the body cannot be serialised, which is a bug.
    pub fn into_json(self) -> super::Result<Box<RawValue>>
    where
        T: Serialize,
    {
        let Answer { status, body, headers, extensions } = self;
        match serde_json::value::to_raw_value(&body) {
            Ok(body) => Ok(Answer { status, body, headers, extensions }),
            Err(_) => Err(codes::INTERNAL_ERROR.into()),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// True for the stored answer to an earlier call under the same idempotency key.
    pub fn is_replay(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == REPLAYED)
    }

    /// Maps the body.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Answer<U> {
        let Answer { status, body, headers, extensions } = self;
        Answer { status, body: make(body), headers, extensions }
    }

    /// The body without status and headers.
    pub fn into_body(self) -> T {
        self.body
    }

    /// The body.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Answer<T> {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a value for a layer around the handlers.
    #[must_use]
    pub fn with_extension<E: Clone + Send + Sync + 'static>(mut self, value: E) -> Answer<T> {
        self.extensions.insert(value);
        self
    }

    /// The value of this type that was added for a layer around the handlers.
    pub fn extension<E: Send + Sync + 'static>(&self) -> Option<&E> {
        self.extensions.get()
    }

    /// The answer with another status, and without its body.
    pub fn without_body(self, status: StatusCode) -> Response {
        let mut response = status.into_response();
        response.headers_mut().extend(self.headers);
        response.extensions_mut().extend(self.extensions);
        response
    }

    /// Adds the `ETag` of the resource (RFC 9110, section 8.8.3): its version in double quotes, such as
    /// `"7"`. `aside` is what a hold or a reservation has set aside; when that ends at its time, the
    /// resource changes without a new version. Where it is above zero, it follows: `"7-20.00"`.
    #[must_use]
    pub fn with_version(self, version: u64, aside: impl Display) -> Answer<T> {
        let aside = aside.to_string();
        let is_zero = aside.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let tag = if is_zero { format!("\"{version}\"") } else { format!("\"{version}-{aside}\"") };
        match HeaderValue::try_from(tag) {
            Ok(tag) => self.with_header(header::ETAG, tag),
            Err(_) => self,
        }
    }

    /// Adds the path of the new resource, without the base path of the service, as its `Location`.
    #[must_use]
    pub fn with_location(self, path: impl FnOnce(&T) -> String) -> Answer<T> {
        match HeaderValue::try_from(path(&self.body)) {
            Ok(path) => self.with_header(header::LOCATION, path),
            Err(_) => self,
        }
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(BODY_CAPACITY);
        if serde_json::to_writer(&mut body, &self.body).is_err() {
            return Problem::from(codes::INTERNAL_ERROR).into_response();
        }
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (self.status, kind, body).into_response();
        response.headers_mut().extend(self.headers);
        response.extensions_mut().extend(self.extensions);
        response
    }
}
