//! Files of the web pages that the program carries. `docs` and `console` serve them.
//!
//! A file is sent compressed to those who understand it, with an `ETag`, so that a browser that has it asks
//! for nothing more than whether it is still the same.

use std::io::{Read, Write};

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
        StaticFile { kind, gzip, etag }
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
        } else {
            let mut plain = Vec::new();
            if GzDecoder::new(&*self.gzip).read_to_end(&mut plain).is_err() {
                return Problem::from(codes::INTERNAL_ERROR).into_response();
            }
            *response.body_mut() = Body::from(plain);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.kind.clone());
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
        response
    }
}
