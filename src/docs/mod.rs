//! `/openapi.json` and `/docs/`: the OpenAPI document, and Swagger UI that shows it. `app` serves them.
//!
//! Everything is sent compressed to those who understand it, with an `ETag`, so that a browser that has
//! it asks for nothing more than whether it is still the same.

use std::{
    borrow::Cow,
    io::{Read, Write},
    sync::{Arc, LazyLock, OnceLock},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};
use sha1_smol::Sha1;
use utoipa_swagger_ui::Config;

use crate::{api::Problem, types::codes};

/// A file, compressed.
struct File {
    kind: HeaderValue,
    gzip: Bytes,
    etag: HeaderValue,
}

/// The routes of a service whose document this is. Their links are relative: a gateway may strip a
/// prefix of the path, of which the service knows nothing.
pub fn router(mut document: Value) -> Router {
    document["servers"] = json!([{ "url": "." }]);
    let compressed = Arc::new(OnceLock::new());
    let openapi = async move |headers: HeaderMap| {
        let file = compressed
            .get_or_init(|| File::compress("application/json", document.to_string().as_bytes()));
        file.answer(&headers)
    };
    let index = async |headers: HeaderMap| file_named("index.html", &headers);
    let file = async |Path(name): Path<String>, headers: HeaderMap| file_named(&name, &headers);
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/docs", get(async || Redirect::temporary("docs/")))
        .route("/docs/", get(index))
        .route("/docs/{*name}", get(file))
}

/// The files of `/docs/`, by name. The page and the script that starts it are ours.
static FILES: LazyLock<Vec<(&str, File)>> = LazyLock::new(|| {
    let page = File::compress("text/html; charset=utf-8", include_bytes!("index.html"));
    let script = File::compress("text/javascript", include_bytes!("initializer.js"));
    let config = Arc::new(Config::default());
    let names = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];
    let vendored = names.into_iter().filter_map(|name| {
        let file = utoipa_swagger_ui::serve(name, Arc::clone(&config)).ok()??;
        let kind = HeaderValue::try_from(file.content_type).ok()?;
        let bytes = match file.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        Some((name, File::new(kind, bytes)))
    });
    [("index.html", page), ("swagger-initializer.js", script)].into_iter().chain(vendored).collect()
});

fn file_named(name: &str, headers: &HeaderMap) -> Response {
    match FILES.iter().find(|(known, _)| *known == name) {
        Some((_, file)) => file.answer(headers),
        None => Problem::from(codes::ROUTE_NOT_FOUND).into_response(),
    }
}

impl File {
    fn compress(kind: &'static str, bytes: &[u8]) -> File {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing into a Vec cannot fail.
        let gzip = encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default();
        File::new(HeaderValue::from_static(kind), gzip.into())
    }

    fn new(kind: HeaderValue, gzip: Bytes) -> File {
        // Weak, because it stands for the file compressed and not.
        let etag = format!("W/\"{}\"", Sha1::from(&gzip).digest());
        let etag = HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("W/\"0\""));
        File { kind, gzip, etag }
    }

    /// The file, or 304 for a caller who has it.
    fn answer(&self, headers: &HeaderMap) -> Response {
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
