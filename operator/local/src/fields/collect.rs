//! All fields of an object.

use serde_json::Value;

use super::element::Element;
use super::set::Set;
use super::typed::{Shape, Typed, items};

/// The fields of an object: leaves, entries of maps and items of lists.
pub(super) fn fields_of(typed: Typed, value: &Value) -> Set {
    let mut walk = Walk { path: Vec::new(), found: Set::default() };
    walk.value(typed, value);
    walk.found
}

struct Walk {
    path: Vec<Element>,
    found: Set,
}

impl Walk {
    fn value(&mut self, typed: Typed, value: &Value) {
        match typed.shape(Some(value)) {
            Shape::Map if !typed.is_atomic_map() => self.map(typed, value),
            Shape::List if !typed.is_atomic_list() => self.list(typed, items(Some(value))),
            _ => self.found.insert(&self.path),
        }
    }

    fn map(&mut self, typed: Typed, value: &Value) {
        for (name, value) in value.as_object().into_iter().flatten() {
            self.path.push(Element::field(name));
            self.value(typed.live_field(name), value);
            let is_empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
            if is_empty || !typed.names(name) {
                self.found.insert(&self.path);
            }
            self.path.pop();
        }
    }

    fn list(&mut self, typed: Typed, items: &[Value]) {
        let elements: Vec<Option<Element>> = items.iter().map(|item| typed.element_of(item).ok()).collect();
        for (item, element) in items.iter().zip(&elements) {
            let Some(element) = element else { continue };
            let is_single = elements.iter().filter(|other| other.as_ref() == Some(element)).count() == 1;
            self.path.push(element.clone());
            if is_single {
                self.value(typed.item(), item);
            }
            self.found.insert(&self.path);
            self.path.pop();
        }
    }
}
