//! Metadata: what callers attach to a resource for their own use.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use super::{
    Invalid,
    limits::{MAX_METADATA_BYTES, MAX_METADATA_ENTRIES},
};

/// Strings by name that the service stores and never interprets: at most 50 entries and 8 KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = BTreeMap<String, String>, example = json!({ "order": "1042" }))]
pub struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let refuse = |detail: String| {
                    Err(de::Error::custom(Invalid::new("validation_failed", detail)))
                };
                let (mut entries, mut bytes) = (BTreeMap::new(), 0);
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    bytes += key.len() + value.len();
                    if let Some((key, _)) = entries.get_key_value(&key) {
                        return refuse(format!("Metadata has the entry {key:?} twice."));
                    }
                    entries.insert(key, value);
                }
                if entries.len() > MAX_METADATA_ENTRIES || bytes > MAX_METADATA_BYTES {
                    return refuse("Metadata has at most 50 entries and 8 KiB.".to_owned());
                }
                Ok(Metadata(entries))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// Writes the JSON object that scripts store without parsing it.
impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&json)
    }
}
