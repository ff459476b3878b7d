//! The id in the path of a call, and the number after it.

use axum::{
    RequestPartsExt,
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};

use crate::{
    api::Problem,
    types::{Id, codes},
};

/// The one id in the path, such as `account_id` of `/accounts/{account_id}`. Anything else is the
/// problem `invalid_id`, with the name of the parameter as its member `parameter`.
#[derive(Debug)]
pub struct Path(pub Id);

/// The number that a path has after its id, such as `version` of `/scripts/{name}/versions/{version}`.
/// Anything but a whole number from 1 is the problem `invalid_id`, as for [`Path`].
#[derive(Debug)]
pub struct PathNumber(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for PathNumber {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<PathNumber, Problem> {
        let unreadable = || Problem::from(codes::INVALID_ID);
        let parameters = parts.extract::<RawPathParams>().await.map_err(|_| unreadable())?;
        let (name, value) = parameters.iter().nth(1).ok_or_else(unreadable)?;
        let is_number = value.len() <= 15 && value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse() {
            Ok(number) if is_number && number > 0 => Ok(PathNumber(number)),
            _ => {
                let detail = format_args!("The {name} in the path is a whole number from 1.");
                Err(Problem::new(codes::INVALID_ID, detail).with("parameter", name))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Path, Problem> {
        // A path that is no UTF-8 once its escapes are decoded.
        let unreadable = || Problem::from(codes::INVALID_ID);
        let parameters = parts.extract::<RawPathParams>().await.map_err(|_| unreadable())?;
        let (name, value) = parameters.iter().next().ok_or_else(unreadable)?;
        match Id::try_from(value.to_owned()) {
            Ok(id) => Ok(Path(id)),
            Err(invalid) => {
                let detail = format_args!("The {name} in the path: {}", invalid.detail);
                Err(Problem::new(codes::INVALID_ID, detail).with("parameter", name))
            }
        }
    }
}
