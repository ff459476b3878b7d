//! An HTTP response with its JSON body, and the checks that tests make of it.

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// A response; `body` is null where it is empty or no JSON, `bytes` is what was sent.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub bytes: Vec<u8>,
}

/// The fields of requests that name an account, one of which is the `role` in a refusal.
const ACCOUNT_FIELDS: [&str; 4] = ["account_id", "from_account", "to_account", "sweep_to"];

impl Answer {
    pub async fn of(response: Response<Body>) -> Answer {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer::new(head.status, head.headers, &bytes)
    }

    pub fn new(status: StatusCode, headers: HeaderMap, bytes: &[u8]) -> Answer {
        let body = serde_json::from_slice(bytes).unwrap_or(Value::Null);
        Answer { status, headers, body, bytes: bytes.to_vec() }
    }

    /// The body. Panics where the status is another one than expected.
    #[track_caller]
    pub fn assert(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self.body
    }

    /// The body of a problem. Panics where status or code are others than expected, or where a member
    /// that every problem has is wrong.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status.as_u16(), &self.body["code"]),
            (status, &json!(code)),
            "{:#}",
            self.body
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["type"], format!("/problems/{code}"));
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["request_id"], self.headers["x-request-id"].to_str().unwrap());
        let detail = self.body["detail"].as_str().unwrap();
        assert!(detail.ends_with('.') && !detail.contains(['{', '}']), "{detail}");
        if let Some(role) = self.body.get("role") {
            assert!(ACCOUNT_FIELDS.iter().any(|field| role == field), "{role}");
        }
        self.body
    }

    /// The value of a header, where the answer has it.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// True where the service answered from the record of an idempotency key.
    pub fn replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}
