//! Files of the web pages that the program carries. `docs` and `console` serve them.
//!
//! A file is sent compressed to those who understand it, with an `ETag`, so that a browser that has it asks
//! for nothing more than whether it is still the same. It is unpacked when the first caller asks who does not understand
//! that, and all such callers share the unpacked file.

use std::{
    io::{Read, Write},
    sync::OnceLock,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sha1_smol::Sha1;

use crate::{api::Problem, types::codes};

/// A file, compressed.
pub struct StaticFile {
    kind: HeaderValue,
    gzip: Bytes,
    /// The file unpacked; `None` if it cannot be.
    plain: OnceLock<Option<Bytes>>,
    etag: HeaderValue,
}

/// The file of that name, or the problem `route_not_found`.
pub fn answer_named(files: &[(&str, StaticFile)], name: &str, headers: &HeaderMap) -> Response {
    match files.iter().find(|(known, _)| *known == name) {
        Some((_, file)) => file.answer(headers),
        None => Problem::from(codes::ROUTE_NOT_FOUND).into_response(),
    }
}

impl StaticFile {
    /// Compresses a file of this media type.
    pub fn compress(kind: &'static str, bytes: &[u8]) -> StaticFile {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing into a Vec cannot fail.
        let gzip = encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default();
        StaticFile::new(HeaderValue::from_static(kind), gzip.into())
    }

    /// A file that is compressed already.
    pub fn new(kind: HeaderValue, gzip: Bytes) -> StaticFile {
        // Weak, because it stands for the file compressed and not.
        let etag = format!("W/\"{}\"", Sha1::from(&gzip).digest());
        let etag = HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("W/\"0\""));
        StaticFile { kind, gzip, plain: OnceLock::new(), etag }
    }

    fn plain(&self) -> Option<&Bytes> {
        let unpack = || {
            let mut plain = Vec::new();
            GzDecoder::new(&*self.gzip).read_to_end(&mut plain).ok()?;
            Some(plain.into())
        };
        self.plain.get_or_init(unpack).as_ref()
    }

    /// The file, or 304 for a caller who has it.
    pub fn answer(&self, headers: &HeaderMap) -> Response {
        let lists = |name, word: &str| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|list| list.split(',')).any(|item| item.trim().starts_with(word))
        };
        let is_known = lists(header::IF_NONE_MATCH, self.etag.to_str().unwrap_or_default());
        let mut response = Response::new(Body::empty());
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if lists(header::ACCEPT_ENCODING, "gzip") {
            *response.body_mut() = Body::from(self.gzip.clone());
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        } else if let Some(plain) = self.plain() {
            *response.body_mut() = Body::from(plain.clone());
        } else {
            return Problem::from(codes::INTERNAL_ERROR).into_response();
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.kind.clone());
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn callers_share_the_unpacked_file() {
        let file = StaticFile::compress("text/plain", b"a text");
        let read = || file.answer(&HeaderMap::new()).into_body().collect();
        let (one, other) = (read().await.unwrap().to_bytes(), read().await.unwrap().to_bytes());
        assert_eq!(&*one, b"a text");
        assert_eq!(one.as_ptr(), other.as_ptr());
    }
}
