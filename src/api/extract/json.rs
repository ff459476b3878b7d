//! JSON bodies, and problems that point at what is wrong in them.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::header,
};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{
    api::{Limits, Problem, RequestInfo, body_room::BodyShare},
    types::{Invalid, codes},
};

/// A JSON object as the body.
///
/// It refuses with `unsupported_media_type`, `payload_too_large`, `request_timeout`, or a problem of
/// [`read_json`].
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        if !kind.and_then(|kind| kind.to_str().ok()).is_some_and(is_json) {
            return Err(codes::UNSUPPORTED_MEDIA_TYPE.into());
        }
        let info = request.extensions().get::<RequestInfo>();
        let limits = info.map(|info| info.limits.clone()).unwrap_or_default();
        let (body, _share) = read_with_share(request.into_body(), &limits).await?;
        read_json(&body).map(Json)
    }
}

/// A JSON object as a body of up to `BYTES`, or of as many as any body may have if that is more.
#[derive(Debug)]
pub struct JsonUpTo<T, const BYTES: usize>(pub T);

impl<T: DeserializeOwned, S: Sync, const BYTES: usize> FromRequest<S> for JsonUpTo<T, BYTES> {
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Problem> {
        if let Some(info) = request.extensions_mut().get_mut::<RequestInfo>() {
            info.limits.body_bytes = info.limits.body_bytes.max(BYTES);
        }
        let Json(body) = Json::from_request(request, state).await?;
        Ok(JsonUpTo(body))
    }
}

/// Reads a body within its limits.
///
/// # Errors
///
/// `payload_too_large`, `request_timeout`, `overloaded` where the bodies of all callers take too much memory, or
/// `malformed_json` for a caller that goes away in the middle.
pub async fn read_body(body: Body, limits: &Limits) -> Result<Bytes, Problem> {
    read_with_share(body, limits).await.map(|(body, _)| body)
}

/// Reads a body within its limits. It takes its share of the memory for bodies until that is dropped.
async fn read_with_share(body: Body, limits: &Limits) -> Result<(Bytes, BodyShare), Problem> {
    let reading = timeout(limits.body_timeout, read_parts(body, limits));
    reading.await.map_err(|_| Problem::from(codes::REQUEST_TIMEOUT))?
}

/// Reads a body of at most as many bytes as it may have.
///
/// A part of a body keeps the whole buffer alive that the connection read it into, even if it has a
/// single byte. So parts are copied, but for the only one of a body that came in one part.
async fn read_parts(mut body: Body, limits: &Limits) -> Result<(Bytes, BodyShare), Problem> {
    let limit = limits.body_bytes;
    let is_too_large = |bytes: u64| usize::try_from(bytes).is_ok_and(|bytes| bytes > limit);
    // A caller that waits for `100 Continue` learns it without having sent the body.
    if is_too_large(body.size_hint().lower()) {
        return Err(codes::PAYLOAD_TOO_LARGE.into());
    }
    let (mut whole, mut share) = (Vec::new(), BodyShare::default());
    while let Some(frame) = body.frame().await {
        // Otherwise the caller went away in the middle of its body.
        let frame = frame.map_err(|_| Problem::from(codes::MALFORMED_JSON))?;
        let Ok(part) = frame.into_data() else { continue };
        if whole.len() + part.len() > limit {
            return Err(codes::PAYLOAD_TOO_LARGE.into());
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok((part, share));
        }
        limits.body_room.add(&mut share, part.len()).ok_or(codes::OVERLOADED)?;
        whole.extend_from_slice(&part);
    }
    Ok((whole.into(), share))
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
const KINDS: [(&str, &str); 8] = [
    (" f64", " a number"),
    (" i64", " a whole number"),
    (" u64", " a whole number from 0"),
    (" u32", " a whole number from 0"),
    (" a sequence", " an array"),
    (" a map", " an object"),
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

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use http_body_util::channel::Channel;

    use super::*;
    use crate::api::BodyRoom;

    fn at_most(body_bytes: usize) -> Limits {
        Limits { body_bytes, ..Limits::default() }
    }

    /// A buffer of a connection, which counts itself while it is kept.
    struct Buffer(Arc<AtomicUsize>, [u8; 8192]);

    impl Buffer {
        fn part(kept: &Arc<AtomicUsize>) -> Bytes {
            kept.fetch_add(1, Ordering::Relaxed);
            Bytes::from_owner(Buffer(Arc::clone(kept), [b'x'; 8192])).slice(..1)
        }
    }

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.1
        }
    }

    impl Drop for Buffer {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_body_that_comes_byte_by_byte_keeps_no_buffers() {
        let kept = Arc::new(AtomicUsize::new(0));
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let reading = tokio::spawn(async { read_body(Body::new(body), &at_most(1000)).await });
        for _ in 0..500 {
            sender.send_data(Buffer::part(&kept)).await.unwrap();
            // One is being sent, one is in the channel, and one is being read.
            assert!(kept.load(Ordering::Relaxed) <= 3);
        }
        drop(sender);
        assert_eq!(reading.await.unwrap().unwrap(), vec![b'x'; 500]);
    }

    #[tokio::test]
    async fn a_body_has_the_limit_at_most_however_it_is_cut() {
        for (bytes, size) in [(1000, 1), (1000, 999), (1000, 1000), (1001, 1), (1001, 1000)] {
            let text = vec![b'x'; bytes];
            let (mut sender, body) = Channel::<Bytes>::new(bytes);
            for part in text.chunks(size) {
                sender.send_data(Bytes::copy_from_slice(part)).await.unwrap();
            }
            drop(sender);
            let read = read_body(Body::new(body), &at_most(1000)).await;
            assert_eq!(read.is_ok(), bytes == 1000, "{bytes} bytes in parts of {size}");
        }
        let refused = read_body(Body::from(vec![b'x'; 1001]), &at_most(1000)).await.unwrap_err();
        assert_eq!(refused.code(), "payload_too_large");
    }

    /// A body of two parts of so many bytes each.
    async fn in_two_parts(bytes: usize) -> Body {
        let (mut sender, body) = Channel::<Bytes>::new(2);
        for _ in 0..2 {
            sender.send_data(vec![b'x'; bytes].into()).await.unwrap();
        }
        Body::new(body)
    }

    #[tokio::test]
    async fn bodies_share_their_memory_until_they_are_read() {
        let limits = Limits { body_room: BodyRoom::of_bytes(1000), ..Limits::default() };
        let (_, share) = read_with_share(in_two_parts(300).await, &limits).await.unwrap();
        let refused = read_body(in_two_parts(201).await, &limits).await.unwrap_err();
        assert_eq!(refused.code(), "overloaded");
        let (_, other) = read_with_share(in_two_parts(200).await, &limits).await.unwrap();
        // A body in one part is in the memory of its connection alone.
        assert!(read_body(Body::from(vec![b'x'; 900]), &limits).await.is_ok());
        drop((share, other));
        assert!(read_body(in_two_parts(500).await, &limits).await.is_ok());
    }
}
