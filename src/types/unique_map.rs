//! Objects of a caller whose names are data, such as the keys of `POST /batch/set`.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};

use super::Invalid;

/// A JSON object in which no name is given twice. Of two values under one name, a parser would keep
/// either, and the caller would not learn which.
#[derive(Debug)]
pub struct UniqueMap<K, V>(BTreeMap<K, V>);

impl<K, V> UniqueMap<K, V> {
    /// The entries, in the order of their names.
    pub fn into_entries(self) -> BTreeMap<K, V> {
        self.0
    }
}

/// Fails with `validation_failed` where a name is given twice.
impl<'de, K, V> Deserialize<'de> for UniqueMap<K, V>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UniqueMap<K, V>, D::Error> {
        struct Visitor<K, V>(PhantomData<(K, V)>);

        impl<'de, K, V> de::Visitor<'de> for Visitor<K, V>
        where
            K: Deserialize<'de> + Ord + fmt::Display,
            V: Deserialize<'de>,
        {
            type Value = UniqueMap<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<K, V>()? {
                    if entries.contains_key(&name) {
                        let detail = format!("The name {:?} is given twice.", name.to_string());
                        return Err(de::Error::custom(Invalid::new("validation_failed", detail)));
                    }
                    entries.insert(name, value);
                }
                Ok(UniqueMap(entries))
            }
        }

        deserializer.deserialize_map(Visitor(PhantomData))
    }
}
