//! The data keys over which transactions by WATCH meet most conflicts, in bounded memory. `calls` counts them.

use std::collections::HashMap;

/// The most keys that are counted at a time.
const MAX_KEYS: usize = 256;

/// Counts of conflicts by key. Where there are more keys than places, the key with the fewest conflicts gives way
/// and the new one takes over its count (the algorithm Space-Saving): a count is never too low, and too high by at
/// most the smallest count.
#[derive(Debug, Clone, Default)]
pub struct ContendedKeys {
    counts: HashMap<String, u64>,
    conflicts: u64,
}

impl ContendedKeys {
    /// Counts one conflict, and each of the keys over which it was.
    pub fn count(&mut self, keys: impl Iterator<Item = String>) {
        self.conflicts += 1;
        for key in keys {
            if let Some(count) = self.counts.get_mut(&key) {
                *count += 1;
                continue;
            }
            let mut taken_over = 0;
            if self.counts.len() >= MAX_KEYS {
                let least = self.counts.iter().min_by_key(|(_, count)| **count);
                if let Some((least, count)) = least.map(|(key, count)| (key.clone(), *count)) {
                    self.counts.remove(&least);
                    taken_over = count;
                }
            }
            self.counts.insert(key, taken_over + 1);
        }
    }

    /// All conflicts since the process started.
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// The keys with the most conflicts, the most first.
    pub fn most(&self, limit: usize) -> Vec<(String, u64)> {
        let mut keys: Vec<_> =
            self.counts.iter().map(|(key, count)| (key.clone(), *count)).collect();
        keys.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        keys.truncate(limit);
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_keys_stay_and_memory_is_bounded() {
        let mut keys = ContendedKeys::default();
        for number in 0..10_000 {
            keys.count(["hot".to_owned(), format!("cold-{number}")].into_iter());
        }
        assert_eq!(keys.conflicts(), 10_000);
        assert_eq!(keys.counts.len(), MAX_KEYS);
        assert_eq!(keys.most(1), [("hot".to_owned(), 10_000)]);
        assert_eq!(keys.most(3).len(), 3);
    }
}
