//! The spaces of a key: names, beginnings of names such as `tenant-*`, or `*` for all.

use crate::types::{Id, Invalid};

/// The spaces that a key may be used in.
#[derive(Debug, Clone, Default)]
pub struct SpaceSet {
    names: Vec<Id>,
    /// Beginnings of names; the empty one is that of all.
    prefixes: Vec<String>,
}

impl SpaceSet {
    /// The set of these names and patterns.
    ///
    /// # Errors
    ///
    /// The index of the first that is neither, and why.
    pub fn new<'a>(
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<SpaceSet, (usize, Invalid)> {
        let mut set = SpaceSet::default();
        for (index, pattern) in patterns.into_iter().enumerate() {
            let (name, is_prefix) = match pattern.strip_suffix('*') {
                Some(prefix) => (prefix, true),
                None => (pattern, false),
            };
            if is_prefix && name.is_empty() {
                set.prefixes.push(String::new());
                continue;
            }
            let id = Id::try_from(name.to_owned()).map_err(|invalid| (index, invalid))?;
            match is_prefix {
                true => set.prefixes.push(id.into()),
                false => set.names.push(id),
            }
        }
        Ok(set)
    }

    /// Every space.
    pub fn all() -> SpaceSet {
        SpaceSet { names: Vec::new(), prefixes: vec![String::new()] }
    }

    /// True if the key may be used in this space.
    pub fn has(&self, space: &Id) -> bool {
        self.names.contains(space)
            || self.prefixes.iter().any(|prefix| space.as_str().starts_with(prefix.as_str()))
    }

    /// True if the key may be used in every space, and so for what belongs to none.
    pub fn has_all(&self) -> bool {
        self.prefixes.iter().any(String::is_empty)
    }

    /// The only space of the key, where it has exactly one.
    pub fn only(&self) -> Option<&Id> {
        match (self.names.as_slice(), self.prefixes.as_slice()) {
            ([name], []) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(patterns: &[&str]) -> SpaceSet {
        SpaceSet::new(patterns.iter().copied()).unwrap()
    }

    #[test]
    fn a_set_has_what_its_patterns_match() {
        let id = |text: &str| Id::try_from(text.to_owned()).unwrap();
        for (patterns, space, has) in [
            (&["main"][..], "main", true),
            (&["main"], "main2", false),
            (&["tenant-*"], "tenant-7", true),
            (&["tenant-*"], "tenant-", true),
            (&["tenant-*"], "tenant", false),
            (&["*"], "anything", true),
            (&[], "main", false),
        ] {
            assert_eq!(set(patterns).has(&id(space)), has, "{patterns:?} {space}");
        }
        assert_eq!(set(&["a"]).only(), Some(&id("a")));
        for several in [&["a", "b"][..], &["a*"], &["*"], &["a", "b*"]] {
            assert_eq!(set(several).only(), None, "{several:?}");
        }
        assert!(set(&["*"]).has_all() && SpaceSet::all().has_all() && !set(&["a*"]).has_all());
    }

    #[test]
    fn a_star_stands_at_the_end_only() {
        for bad in ["", "a*b", "**", "-*", "{x}", "a b", "*a"] {
            let refused = SpaceSet::new(["good", bad]).unwrap_err();
            assert_eq!((refused.0, refused.1.code), (1, "invalid_id"), "{bad}");
        }
    }
}
