//! The objects of one kind as the API server last told of them.
//!
//! What a call of ours answered is put in too, so that nobody acts twice on what is on its way; what is older than what
//! is known is not believed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Where an object is found.
pub(crate) fn key_of(object: &impl ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Mirror<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Those that a list that is being read has not named yet.
    unnamed: BTreeSet<Key>,
    is_complete: bool,
}

impl<K: ResourceExt> Mirror<K> {
    pub(crate) fn new() -> Self {
        Self { objects: BTreeMap::new(), unnamed: BTreeSet::new(), is_complete: false }
    }

    /// Whether all objects have been told of once.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    /// Takes in what the watch says; gives the objects that are no more or not as they were.
    pub(crate) fn apply(&mut self, event: Event<K>) -> Vec<Arc<K>> {
        match event {
            Event::Init => {
                self.unnamed = self.objects.keys().cloned().collect();
                Vec::new()
            }
            Event::InitApply(object) | Event::Apply(object) => {
                self.unnamed.remove(&key_of(&object));
                self.put(object).into_iter().collect()
            }
            Event::InitDone => {
                self.is_complete = true;
                let gone = std::mem::take(&mut self.unnamed);
                gone.iter().filter_map(|key| self.objects.remove(key)).collect()
            }
            Event::Delete(object) => {
                self.remove(&object);
                vec![Arc::new(object)]
            }
        }
    }

    /// Takes in an object, unless a later state of it is known.
    pub(crate) fn put(&mut self, object: K) -> Option<Arc<K>> {
        let key = key_of(&object);
        if self.objects.get(&key).is_some_and(|known| version(known.as_ref()) >= version(&object)) {
            return None;
        }
        let object = Arc::new(object);
        self.objects.insert(key, object.clone());
        Some(object)
    }

    /// Forgets an object, unless another has its name meanwhile.
    pub(crate) fn remove(&mut self, object: &K) {
        let key = key_of(object);
        if self.objects.get(&key).is_some_and(|known| known.uid() == object.uid()) {
            self.objects.remove(&key);
        }
    }
}

/// Our own API server counts its writes; a version that is no number is believed.
fn version(object: &impl ResourceExt) -> Option<u64> {
    object.resource_version()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, uid: &str, version: &str) -> Pod {
        let metadata = json!({ "namespace": "lab", "name": name, "uid": uid, "resourceVersion": version });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<String> {
        pods.iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn an_event_that_is_older_than_what_is_known_changes_nothing() {
        let mut mirror = Mirror::new();
        mirror.put(pod("a", "1", "10"));
        assert_eq!(names(&mirror.apply(Event::Apply(pod("a", "1", "9")))), [""; 0]);
        assert_eq!(names(&mirror.apply(Event::Apply(pod("a", "1", "11")))), ["a"]);
    }

    #[test]
    fn what_a_new_list_does_not_name_is_gone() {
        let mut mirror = Mirror::new();
        mirror.put(pod("a", "1", "10"));
        mirror.put(pod("b", "2", "11"));
        mirror.apply(Event::Init);
        mirror.apply(Event::InitApply(pod("b", "2", "11")));
        assert_eq!(names(&mirror.apply(Event::InitDone)), ["a"]);
        assert_eq!(mirror.iter().count(), 1);
    }

    #[test]
    fn an_end_takes_no_later_object_of_the_same_name_with_it() {
        let mut mirror = Mirror::new();
        mirror.put(pod("a", "2", "12"));
        mirror.apply(Event::Delete(pod("a", "1", "11")));
        assert_eq!(mirror.iter().count(), 1);
    }
}
