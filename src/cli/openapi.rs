//! `lockstep openapi`: the OpenAPI document on standard output.

use std::io::{self, Write};

use crate::app;

/// Prints the document.
pub(super) fn print() -> Result<(), String> {
    let text =
        serde_json::to_string_pretty(&app::document("")).map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "{text}").map_err(|error| error.to_string())
}
