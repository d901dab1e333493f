//! Who owns whom: objects by uid, and the dependents of a uid.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Place;
use crate::api::object;

#[derive(Default)]
pub(super) struct Owners {
    places: BTreeMap<String, Place>,
    dependents: BTreeMap<String, BTreeSet<Place>>,
}

impl Owners {
    pub(super) fn place_of(&self, uid: &str) -> Option<&Place> {
        self.places.get(uid)
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<Place> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    pub(super) fn add(&mut self, place: &Place, object: &Value) {
        self.places.insert(object::uid(object).into(), place.clone());
        for owner in owners(object) {
            self.dependents.entry(owner.into()).or_default().insert(place.clone());
        }
    }

    pub(super) fn remove(&mut self, place: &Place, object: &Value) {
        self.places.remove(object::uid(object));
        for owner in owners(object) {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(place);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    object::owner_references(object).iter().filter_map(|owner| owner["uid"].as_str())
}
