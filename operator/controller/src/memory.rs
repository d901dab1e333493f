//! What is remembered of many objects from one look to the next. Losing it costs a few reads or a superfluous write, so
//! its bound is the simplest that there is: where it is full, it is dropped whole.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A memory of at most `MOST` entries.
pub(crate) struct Memory<K, V, const MOST: usize>(Mutex<HashMap<K, V>>);

impl<K, V, const MOST: usize> Default for Memory<K, V, MOST> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V, const MOST: usize> Memory<K, V, MOST> {
    /// Remembers this, in place of what was remembered under that key.
    pub(crate) fn insert(&self, key: K, value: V) {
        self.with_room_for(&key).insert(key, value);
    }

    /// Looks at, and changes, what is remembered under that key.
    pub(crate) fn with<T>(&self, key: &K, look: impl FnOnce(&mut V) -> T) -> T
    where
        V: Default,
    {
        look(self.with_room_for(key).entry(key.clone()).or_default())
    }

    /// What is remembered under that key.
    pub(crate) fn get(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.all().get(key).cloned()
    }

    /// The same, but where it is outdated it is forgotten.
    pub(crate) fn get_unless(&self, key: &K, is_outdated: impl FnOnce(&V) -> bool) -> Option<V>
    where
        V: Clone,
    {
        let mut all = self.all();
        if all.get(key).is_some_and(is_outdated) {
            all.remove(key);
        }
        all.get(key).cloned()
    }

    fn with_room_for(&self, key: &K) -> MutexGuard<'_, HashMap<K, V>> {
        let mut all = self.all();
        if all.len() >= MOST && !all.contains_key(key) {
            all.clear();
        }
        all
    }

    fn all(&self) -> MutexGuard<'_, HashMap<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outdated_is_forgotten_and_what_is_full_is_dropped() {
        let memory = Memory::<&str, u32, 2>::default();
        memory.insert("a", 1);
        assert_eq!(memory.with(&"b", |number| std::mem::replace(number, 2)), 0);
        memory.insert("a", 3);
        assert_eq!((memory.get(&"a"), memory.get(&"b")), (Some(3), Some(2)), "there was room for both");
        assert_eq!(memory.get_unless(&"a", |number| *number < 3), Some(3));
        assert_eq!(memory.get_unless(&"a", |number| *number == 3), None);
        assert_eq!(memory.get(&"a"), None);
        memory.insert("c", 4);
        memory.insert("d", 5);
        assert_eq!(["b", "c", "d"].map(|key| memory.get(&key)), [None, None, Some(5)]);
    }
}
