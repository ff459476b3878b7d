//! One request to the service in this process, put together by chained calls and sent by `.await`.

use std::pin::Pin;

use axum::{
    Router,
    body::Body,
    http::{Method, Request},
};
use serde_json::Value;
use tower::ServiceExt;

use super::Answer;

/// A request that is sent when it is awaited. It borrows nothing, so that it can be sent from a task.
#[derive(Clone)]
pub struct Call {
    router: Router,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
}

impl Call {
    pub fn new(router: Router, space: &str, method: Method, path: &str) -> Call {
        let headers = [("host", "lockstep"), ("lockstep-space", space)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Call { router, method, path: path.to_owned(), headers, body: None }
    }

    /// With this key of a caller in place of the one that it has.
    pub fn with_caller_key(mut self, key: &str) -> Call {
        self.headers.retain(|(name, _)| name != "authorization");
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// Without any key of a caller.
    pub fn without_caller_key(mut self) -> Call {
        self.headers.retain(|(name, _)| name != "authorization");
        self
    }

    pub fn json(mut self, body: Value) -> Call {
        self.body = Some(body);
        self.header("content-type", "application/json")
    }

    /// With this content type in place of the one that it has.
    pub fn content_type(mut self, kind: &str) -> Call {
        self.headers.retain(|(name, _)| name != "content-type");
        self.header("content-type", kind)
    }

    /// Under an idempotency key: sent again, it has no second effect.
    pub fn key(self, key: impl AsRef<str>) -> Call {
        self.header("idempotency-key", key.as_ref())
    }

    /// With `If-Match`; the value is what stands in the header, so with the quotes of an entity tag.
    pub fn if_match(self, tags: impl AsRef<str>) -> Call {
        self.header("if-match", tags.as_ref())
    }

    /// With one more header, even where it has one of that name already.
    pub fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut request = Request::builder().method(self.method).uri(self.path);
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let body = self.body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
            let response = self.router.oneshot(request.body(body).unwrap()).await.unwrap();
            Answer::of(response).await
        })
    }
}
