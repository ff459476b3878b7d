use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{store::Completed, types::codes};

/// Set on the answer to a repeat under the same `Idempotency-Key`.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What an operation answers when it has happened.
#[derive(Debug)]
pub struct Answer<T> {
    status: StatusCode,
    body: T,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl<T> Answer<T> {
    /// 200, for a read or a change.
    pub fn ok(done: Completed<T>) -> Answer<T> {
        Answer::new(StatusCode::OK, done)
    }

    /// 201, for what is there now and was not before.
    pub fn created(done: Completed<T>) -> Answer<T> {
        Answer::new(StatusCode::CREATED, done)
    }

    fn new(status: StatusCode, done: Completed<T>) -> Answer<T> {
        let headers = match done.replayed {
            true => vec![(REPLAYED, HeaderValue::from_static("true"))],
            false => Vec::new(),
        };
        Answer { status, body: done.reply, headers }
    }

    /// The same with its body as JSON.
    ///
    /// # Errors
    ///
    /// Where it cannot be written as JSON, which would be a fault of ours.
    pub fn into_json(self) -> super::Result<Box<RawValue>>
    where
        T: Serialize,
    {
        let Answer { status, body, headers } = self;
        match serde_json::value::to_raw_value(&body) {
            Ok(body) => Ok(Answer { status, body, headers }),
            Err(_) => Err(codes::INTERNAL_ERROR.into()),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether it was answered before, under the same idempotency key.
    pub fn is_replay(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == REPLAYED)
    }

    /// What was answered, on its own.
    pub fn into_body(self) -> T {
        self.body
    }

    /// What was answered.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Answer<T> {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with the version of the resource as its `ETag`.
    #[must_use]
    pub fn with_version(self, version: u64) -> Answer<T> {
        match HeaderValue::try_from(format!("\"{version}\"")) {
            Ok(tag) => self.with_header(header::ETAG, tag),
            Err(_) => self,
        }
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}
