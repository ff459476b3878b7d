//! JSON bodies, and problems that point at what is wrong in them.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::header,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{
    api::{Problem, RequestInfo},
    types::{Invalid, codes},
};

/// A JSON object as the body.
///
/// It refuses with `unsupported_media_type`, `payload_too_large`, `request_timeout`, or a problem of
/// [`read_json`].
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        if !kind.and_then(|kind| kind.to_str().ok()).is_some_and(is_json) {
            return Err(codes::UNSUPPORTED_MEDIA_TYPE.into());
        }
        let limits =
            request.extensions().get::<RequestInfo>().map(|info| info.limits).unwrap_or_default();
        let body = timeout(limits.body_timeout, Bytes::from_request(request, state))
            .await
            .map_err(|_| Problem::from(codes::REQUEST_TIMEOUT))?
            .map_err(|rejection| match rejection.status().as_u16() {
                413 => Problem::from(codes::PAYLOAD_TOO_LARGE),
                // The caller went away in the middle of its body.
                _ => Problem::from(codes::MALFORMED_JSON),
            })?;
        read_json(&body).map(Json)
    }
}

/// Reads a JSON object.
///
/// # Errors
///
/// `malformed_json` if the text is not JSON; `unknown_field`, `validation_failed` or the code of an
/// [`Invalid`] value if it is no `T`, with a JSON Pointer (RFC 6901) in `errors`.
pub fn read_json<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, Problem> {
    // serde would also read a struct from an array with the fields in their order.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(not_an_object(text));
    }
    serde_json::from_slice(text).map_err(|_| locate_error::<T>(text))
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn not_an_object(body: &[u8]) -> Problem {
    match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Ok(_) => Problem::validation("", "The body is a JSON object, with a name for every value."),
        Err(error) => malformed(&error.to_string()),
    }
}

/// Reads a refused body a second time, now keeping the path to each value, and returns the problem
/// with a pointer. The first reading keeps no paths, because that would slow down every valid body.
fn locate_error<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Problem {
    let mut json = serde_json::Deserializer::from_slice(body);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(error) => error,
        Ok(_) => {
            let trailing = json.end().err().map(|error| error.to_string()).unwrap_or_default();
            return malformed(&trailing);
        }
    };
    if !error.inner().is_data() {
        return malformed(&error.inner().to_string());
    }
    let mut pointer = pointer(error.path());
    let message = error.inner().to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(text, _)| text);

    if let Some(invalid) = Invalid::from_message(message) {
        return Problem::invalid(&invalid, &pointer);
    }
    let quoted = message.split('`').nth(1).unwrap_or_default();
    if message.starts_with("missing field") {
        pointer = format!("{pointer}/{}", escape(quoted));
    }
    if message.starts_with("unknown field") {
        let suffix = format!("/{}", escape(quoted));
        if !pointer.ends_with(&suffix) {
            pointer += &suffix;
        }
        let error = serde_json::json!({ "pointer": pointer, "detail": message });
        let detail = format_args!("This call does not take the field {pointer}.");
        return Problem::new(codes::UNKNOWN_FIELD, detail).with("errors", vec![error]);
    }
    Problem::validation(&pointer, sentence(message))
}

fn malformed(cause: &str) -> Problem {
    Problem::new(codes::MALFORMED_JSON, format_args!("The body is not JSON: {cause}."))
}

/// Types as serde's messages name them, and as JSON does.
const KINDS: [(&str, &str); 6] = [
    (" f64", " a number"),
    (" i64", " a whole number"),
    (" u64", " a whole number"),
    (" u32", " a whole number"),
    (" sequence", " array"),
    (" map", " object"),
];

/// A message of serde as a sentence about JSON.
fn sentence(message: &str) -> String {
    let message =
        KINDS.iter().fold(message.to_owned(), |text, (rust, json)| text.replace(rust, json));
    let mut letters = message.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// The path as a JSON Pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment::{Enum, Map, Seq, Unknown};
    path.iter()
        .map(|segment| match segment {
            Seq { index } => format!("/{index}"),
            Map { key } | Enum { variant: key } => format!("/{}", escape(key)),
            Unknown => String::new(),
        })
        .collect()
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
