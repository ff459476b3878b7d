//! Metadata: what callers attach to a resource for their own use.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use super::{
    Invalid, UniqueMap,
    limits::{MAX_METADATA_BYTES, MAX_METADATA_ENTRIES},
};

/// Strings by name that the service stores and never interprets: at most 50 entries and 8 KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = BTreeMap<String, String>, example = json!({ "order": "1042" }))]
pub struct Metadata(BTreeMap<String, String>);

/// Fails with `validation_failed` where an entry is given twice, or the limits are exceeded.
impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
        let entries = UniqueMap::<String, String>::deserialize(deserializer)?.into_entries();
        let bytes: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        if entries.len() > MAX_METADATA_ENTRIES || bytes > MAX_METADATA_BYTES {
            let detail = "Metadata has at most 50 entries and 8 KiB.";
            return Err(de::Error::custom(Invalid::new("validation_failed", detail)));
        }
        Ok(Metadata(entries))
    }
}

/// Writes the JSON object that scripts store without parsing it.
impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&json)
    }
}
