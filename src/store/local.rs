//! Values that a domain keeps in this process beside a store, one of each type. `ratelimit` keeps there what it
//! remembers of limits.

use std::{any::Any, sync::OnceLock};

use super::Store;

/// The values of one store: a list that only grows, so that reading it takes no lock.
#[derive(Default)]
pub(super) struct Local(OnceLock<Box<LocalValue>>);

struct LocalValue {
    value: Box<dyn Any + Send + Sync>,
    next: Local,
}

impl Local {
    fn get<T: Default + Send + Sync + 'static>(&self) -> &T {
        let mut place = self;
        loop {
            let node = place.0.get_or_init(|| {
                Box::new(LocalValue { value: Box::new(T::default()), next: Local::default() })
            });
            if let Some(value) = node.value.downcast_ref() {
                return value;
            }
            place = &node.next;
        }
    }
}

impl Store {
    /// The value of this type that belongs to this store; the first call makes it. All clones of a store share it.
    pub fn local<T: Default + Send + Sync + 'static>(&self) -> &T {
        self.0.local.get()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

    use super::*;

    #[test]
    fn each_type_has_one_value() {
        let local = Local::default();
        local.get::<AtomicU8>().store(1, Ordering::Relaxed);
        local.get::<AtomicU16>().store(2, Ordering::Relaxed);
        assert_eq!(local.get::<AtomicU8>().load(Ordering::Relaxed), 1);
        assert_eq!(local.get::<AtomicU16>().load(Ordering::Relaxed), 2);
    }
}
