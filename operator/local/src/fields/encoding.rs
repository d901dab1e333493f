//! Sets of fields as `fieldsV1` writes them: `{"f:spec": {".": {}, "f:branches": {"k:{\"name\":\"main\"}": {}}}}`.

use serde_json::{Map, Value};

use super::element::Element;
use super::set::Set;

/// As `fieldsV1`.
pub(super) fn encode(set: &Set) -> Value {
    let mut fields = Map::new();
    for element in &set.members {
        fields.insert(element.encode(), Value::Object(Map::new()));
    }
    for (element, below) in &set.children {
        let mut below = encode(below);
        if set.members.contains(element)
            && let Value::Object(below) = &mut below
        {
            below.insert(".".into(), Value::Object(Map::new()));
        }
        fields.insert(element.encode(), below);
    }
    Value::Object(fields)
}

/// From `fieldsV1`; none if it is not one.
pub(super) fn decode(fields: &Value) -> Option<Set> {
    let mut set = Set::default();
    for (key, below) in fields.as_object()? {
        if key == "." {
            continue;
        }
        let element = Element::decode(key)?;
        let inner = decode(below)?;
        if inner.is_empty() || below.get(".").is_some() {
            set.members.insert(element.clone());
        }
        if !inner.is_empty() {
            set.children.insert(element, inner);
        }
    }
    Some(set)
}
