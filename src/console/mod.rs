//! `/console/`: a page that shows what the service does and what is stored. `app` serves it.
//!
//! The page makes calls of the public API that only read, one a second while somebody looks at it. Its files are in
//! the program, and it loads nothing from elsewhere, which its `Content-Security-Policy` also forbids.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, header},
    response::{Redirect, Response},
    routing::get,
};

use crate::static_file::{StaticFile, answer_named};

/// What the page may load and call: files and calls of the service itself. Styles of single elements are set by
/// its scripts.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The routes of the page. Its links are relative: a gateway may strip a prefix of the path.
pub fn router() -> Router {
    Router::new()
        .route("/console", get(async || Redirect::temporary("console/")))
        .route("/console/", get(async |headers: HeaderMap| file("index.html", &headers)))
        .route(
            "/console/{*name}",
            get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers)),
        )
}

/// The files of `/console/`, by name.
static FILES: LazyLock<[(&str, StaticFile); 9]> = LazyLock::new(|| {
    let script = |name, source: &[u8]| {
        (name, StaticFile::compress("text/javascript; charset=utf-8", source))
    };
    [
        (
            "index.html",
            StaticFile::compress("text/html; charset=utf-8", include_bytes!("index.html")),
        ),
        (
            "console.css",
            StaticFile::compress("text/css; charset=utf-8", include_bytes!("console.css")),
        ),
        script("console.js", include_bytes!("console.js")),
        script("api.js", include_bytes!("api.js")),
        script("elements.js", include_bytes!("elements.js")),
        script("charts.js", include_bytes!("charts.js")),
        script("overview.js", include_bytes!("overview.js")),
        script("records.js", include_bytes!("records.js")),
        script("servers.js", include_bytes!("servers.js")),
    ]
});

fn file(name: &str, headers: &HeaderMap) -> Response {
    let mut response = answer_named(FILES.as_slice(), name, headers);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    response
}
