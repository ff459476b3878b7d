//! Parameters of lists: `limit` and `cursor`.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::Problem,
    types::{
        Id, codes,
        limits::{DEFAULT_PAGE, MAX_PAGE, MAX_SAFE_INTEGER},
    },
};

/// The part of a list that a call asks for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Most entries of the page, 1 to 500.
    #[serde(default = "Page::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: u64,
    /// `next_cursor` of the page before. Without it, the first page.
    pub cursor: Option<String>,
}

impl Page {
    /// The limit of a list where the caller gives none.
    pub fn default_limit() -> u64 {
        DEFAULT_PAGE
    }
}

/// Reads a cursor that is the last id of the page before.
///
/// # Errors
///
/// `invalid_query` if it is no id.
pub fn id_cursor(cursor: Option<String>) -> Result<Option<Id>, Problem> {
    cursor.map(Id::try_from).transpose().map_err(|_| foreign_cursor())
}

/// Reads a cursor that is the number of the first entry of the page, 1 to 2^53 - 1.
///
/// # Errors
///
/// `invalid_query` if it is no such number.
pub fn number_cursor(cursor: Option<&str>) -> Result<Option<u64>, Problem> {
    let number = |cursor: &str| match cursor.parse::<u64>() {
        Ok(number) if (1..=MAX_SAFE_INTEGER.unsigned_abs()).contains(&number) => Ok(number),
        _ => Err(foreign_cursor()),
    };
    cursor.map(number).transpose()
}

fn foreign_cursor() -> Problem {
    Problem::new(codes::INVALID_QUERY, "The cursor is none that was given here.")
}

/// Checks the limit of a page.
///
/// # Errors
///
/// `invalid_query` if it is not 1 to 500.
pub fn page_limit(limit: u64) -> Result<usize, Problem> {
    match usize::try_from(limit) {
        Ok(entries) if (1..=MAX_PAGE).contains(&limit) => Ok(entries),
        _ => {
            let detail = format_args!("A limit is 1 to {MAX_PAGE}.");
            Err(Problem::new(codes::INVALID_QUERY, detail))
        }
    }
}
