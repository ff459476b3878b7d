//! `/openapi.json` and `/docs/`: the OpenAPI document, and Swagger UI that shows it. `app` serves them.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock, OnceLock},
};

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    http::{HeaderMap, HeaderValue},
    response::Redirect,
    routing::get,
};
use serde_json::{Value, json};
use utoipa_swagger_ui::Config;

use crate::static_file::{StaticFile, answer_named};

/// The routes of a service whose document this is. Their links are relative: a gateway may strip a
/// prefix of the path, of which the service knows nothing.
pub fn router(mut document: Value) -> Router {
    document["servers"] = json!([{ "url": "." }]);
    let compressed = Arc::new(OnceLock::new());
    let openapi = async move |headers: HeaderMap| {
        let file = compressed.get_or_init(|| {
            StaticFile::compress("application/json", document.to_string().as_bytes())
        });
        file.answer(&headers)
    };
    let index = async |headers: HeaderMap| answer_named(&FILES, "index.html", &headers);
    let file =
        async |Path(name): Path<String>, headers: HeaderMap| answer_named(&FILES, &name, &headers);
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/docs", get(async || Redirect::temporary("docs/")))
        .route("/docs/", get(index))
        .route("/docs/{*name}", get(file))
}

/// The files of `/docs/`, by name. The page and the script that starts it are ours.
static FILES: LazyLock<Vec<(&str, StaticFile)>> = LazyLock::new(|| {
    let page = StaticFile::compress("text/html; charset=utf-8", include_bytes!("index.html"));
    let script = StaticFile::compress("text/javascript", include_bytes!("initializer.js"));
    let config = Arc::new(Config::default());
    let names = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];
    let vendored = names.into_iter().filter_map(|name| {
        let file = utoipa_swagger_ui::serve(name, Arc::clone(&config)).ok()??;
        let kind = HeaderValue::try_from(file.content_type).ok()?;
        let bytes = match file.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        Some((name, StaticFile::new(kind, bytes)))
    });
    [("index.html", page), ("swagger-initializer.js", script)].into_iter().chain(vendored).collect()
});
