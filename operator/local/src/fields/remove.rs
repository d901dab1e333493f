//! An object without some of its fields.

use serde_json::{Map, Value};

use super::element::Element;
use super::set::Set;
use super::typed::{Shape, Typed, items};

/// `value` without the fields in `set`; a map or list that loses all it has goes too.
pub(super) fn without(typed: Typed, value: &Value, set: &Set) -> Option<Value> {
    match typed.shape(Some(value)) {
        Shape::Scalar => Some(value.clone()),
        Shape::Map if typed.is_atomic_map() => None,
        Shape::List if typed.is_atomic_list() => None,
        Shape::Map => {
            let mut kept = Map::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                if let Some(value) = rest_of(typed.live_field(name), value, &Element::field(name), set) {
                    kept.insert(name.clone(), value);
                }
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Shape::List => {
            let kept = items(Some(value)).iter().filter_map(|item| match typed.element_of(item) {
                Ok(element) => rest_of(typed.item(), item, &element, set),
                Err(_) => Some(item.clone()),
            });
            let kept: Vec<Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
    }
}

fn rest_of(typed: Typed, value: &Value, element: &Element, set: &Set) -> Option<Value> {
    if set.members.contains(element) {
        return None;
    }
    match set.children.get(element) {
        Some(below) => without(typed, value, below),
        None => Some(value.clone()),
    }
}
