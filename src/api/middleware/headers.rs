//! Headers that every answer gets by the same rules: which methods a path takes, whether a cached copy is
//! still good, and who may keep one. `middleware::around` applies them.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header},
    response::Response,
};

use crate::{
    api::{Problem, RequestInfo},
    types::codes,
};

/// What the headers of an answer depend on.
pub(super) struct Asked {
    method: Method,
    /// Tags of the copies that the caller has, from `If-None-Match`; only of a read.
    known_tags: Vec<HeaderValue>,
}

impl Asked {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Asked {
        let tags = headers.get_all(header::IF_NONE_MATCH).iter();
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let known_tags = if is_read { tags.cloned().collect() } else { Vec::new() };
        Asked { method: method.clone(), known_tags }
    }

    /// Answers `OPTIONS`, which no path has a handler for. The router adds the methods of the path to it, as
    /// to every answer of a path without the method that was asked for.
    pub(super) fn answer_options(&self, response: Response) -> Response {
        match self.method == Method::OPTIONS && is_method_not_allowed(&response) {
            true => with_status(StatusCode::NO_CONTENT),
            false => response,
        }
    }

    /// Answers 304 where the caller has the same copy (RFC 9110, section 13.1.2), and says who may keep the
    /// answer.
    pub(super) fn finish(self, mut response: Response, info: &RequestInfo) -> Response {
        let headers = response.headers_mut();
        // Handlers name resources of the service; behind a base path their paths are longer.
        if !info.base_path.is_empty()
            && let Some(path) = headers.get(header::LOCATION).and_then(|path| path.to_str().ok())
            && path.starts_with('/')
            && let Ok(path) = HeaderValue::try_from(format!("{}{path}", info.base_path))
        {
            headers.insert(header::LOCATION, path);
        }
        let tag = headers.get(header::ETAG).cloned();
        let rule = if tag.is_some() { "private, no-cache" } else { "no-store" };
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(rule));
        let Some(tag) = tag.filter(|tag| self.knows(tag)) else { return response };
        if response.status() != StatusCode::OK {
            return response;
        }
        let mut not_modified = with_status(StatusCode::NOT_MODIFIED);
        let headers = not_modified.headers_mut();
        headers.insert(header::ETAG, tag);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(rule));
        not_modified
    }

    /// True if one of the caller's tags is this one. A gateway that compresses makes `"1"` weak.
    fn knows(&self, tag: &HeaderValue) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let Ok(tag) = tag.to_str().map(opaque) else { return false };
        let lists = self.known_tags.iter().filter_map(|list| list.to_str().ok());
        let mut known = lists.flat_map(|list| list.split(',')).map(opaque);
        known.any(|known| known == "*" || known == tag)
    }
}

/// Refuses a request that names no host or several (RFC 9112, section 3.2, and RFC 9113, section 8.3.1): a gateway
/// and this service could mean different ones. Only HTTP/1.0 may name none, and HTTP/2 names it in its address.
///
/// # Errors
///
/// `invalid_host`.
pub(super) fn check_host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let authority = uri.authority().filter(|_| version == Version::HTTP_2);
    let is_good = match (version, hosts.next(), authority) {
        (Version::HTTP_10, None, _) => true,
        (_, None, authority) => authority.is_some(),
        (_, Some(host), Some(authority)) => host == authority.as_str(),
        (_, Some(_), None) => true,
    };
    match is_good && hosts.next().is_none() {
        true => Ok(()),
        false => Err(codes::INVALID_HOST.into()),
    }
}

/// The problem of an answer that the router or a library gave instead of a handler, as plain text or
/// without a body.
pub(super) fn problem_of_stranger(response: &Response) -> Option<Problem> {
    let status = response.status();
    if response.extensions().get::<Problem>().is_some()
        || !(status.is_client_error() || status.is_server_error())
    {
        return None;
    }
    Some(match status {
        StatusCode::METHOD_NOT_ALLOWED => codes::METHOD_NOT_ALLOWED.into(),
        StatusCode::PAYLOAD_TOO_LARGE => codes::PAYLOAD_TOO_LARGE.into(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => codes::UNSUPPORTED_MEDIA_TYPE.into(),
        // A path that is no UTF-8 once it is decoded is a 400 of the router.
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => codes::ROUTE_NOT_FOUND.into(),
        _ => codes::INTERNAL_ERROR.into(),
    })
}

fn is_method_not_allowed(response: &Response) -> bool {
    let problem = response.extensions().get::<Problem>();
    problem.is_some_and(|problem| problem.code() == codes::METHOD_NOT_ALLOWED.code)
}

fn with_status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
