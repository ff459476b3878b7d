use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

/// What callers attach to a thing for themselves: string to string, at most 50 entries and 8 KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "BTreeMap<String, String>")]
#[schema(value_type = BTreeMap<String, String>, example = json!({ "order": "1042" }))]
pub struct Metadata(BTreeMap<String, String>);

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = Invalid;

    fn try_from(entries: BTreeMap<String, String>) -> Result<Metadata, Invalid> {
        let bytes: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        if entries.len() > 50 || bytes > 8 * 1024 {
            let detail = "Metadata has at most 50 entries and 8 KiB.";
            return Err(Invalid::new("validation_failed", detail));
        }
        Ok(Metadata(entries))
    }
}

/// Writes the JSON that scripts keep and never look into.
impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&json)
    }
}
