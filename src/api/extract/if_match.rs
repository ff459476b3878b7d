//! The header `If-Match` (RFC 9110, section 13.1.1): change a resource only in a given version.

use std::fmt;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use utoipa::{
    IntoParams,
    openapi::{
        ObjectBuilder, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema,
    },
};

use crate::api::Problem;

/// The versions that `If-Match` allows, separated by blanks; empty if any version will do.
///
/// An ETag of this service is a version in double quotes, with what is set aside behind a hyphen where
/// there is something: `"1"` or `"1-20.00"`. Gateways that compress an answer make `W/"1"` or `"1-gzip"` of
/// it; these and a bare number are understood too: the version decides. Any other tag
/// matches no version; it is kept so that the problem `version_mismatch` can name it. A handler that
/// takes this also lists `IfMatch` among the `params` of its `#[utoipa::path]`.
#[derive(Debug, Default)]
pub struct IfMatch(String);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IfMatch, Problem> {
        Ok(IfMatch::of(&parts.headers))
    }
}

impl IfMatch {
    fn of(headers: &HeaderMap) -> IfMatch {
        let values = headers.get_all(header::IF_MATCH).iter();
        let lists: Vec<&str> = values.map(|value| value.to_str().unwrap_or("?")).collect();
        if lists.is_empty() || lists == ["*"] {
            return IfMatch(String::new());
        }
        let tags = lists.iter().flat_map(|list| list.split(',')).map(str::trim);
        let versions: Vec<String> = tags.filter(|tag| !tag.is_empty()).map(version).collect();
        match versions.is_empty() {
            // A header without a tag allows no version, and not any.
            true => IfMatch("\"\"".to_owned()),
            false => IfMatch(versions.join(" ")),
        }
    }
}

/// The version in a tag; the tag itself, in which no blank can set a number apart, if it has none.
fn version(tag: &str) -> String {
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    let quoted = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let version = quoted.map_or(tag, |opaque| opaque.split('-').next().unwrap_or(opaque));
    if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) {
        return version.to_owned();
    }
    tag.replace([' ', '\t'], "%20")
}

impl fmt::Display for IfMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The ETag of the version to change, or a list of ETags. Without it, any \
                           version is changed.";
        let parameter =
            ParameterBuilder::new()
                .name("If-Match")
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(description))
                .schema(Some(ObjectBuilder::new().schema_type(schema::Type::String).pattern(
                    Some(r#"^(\*|(W/)?("[0-9]+"|[0-9]+)( *, *(W/)?("[0-9]+"|[0-9]+))*)$"#),
                )));
        vec![parameter.build()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_in_every_form_of_a_tag() {
        let read = |lists: &[&str]| {
            let lists = lists.iter().map(|list| (header::IF_MATCH, list.parse().unwrap()));
            IfMatch::of(&lists.collect()).to_string()
        };
        assert_eq!(read(&[]), "");
        assert_eq!(read(&["*"]), "");
        assert_eq!(read(&["\"1\""]), "1");
        assert_eq!(read(&["W/\"1\", 2", "\"3\""]), "1 2 3");
        assert_eq!(read(&["\"1-20.00\", W/\"2-5\", \"3-gzip\""]), "1 2 3");
        assert_eq!(read(&["\"-1\", 1-2, \"x-1\""]), "\"-1\" 1-2 \"x-1\"");
        assert_eq!(read(&[""]), "\"\"");
        assert_eq!(read(&[","]), "\"\"");
        assert_eq!(read(&["\"a 1 b\", W/2"]), "\"a%201%20b\" W/2");
    }
}
