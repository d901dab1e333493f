//! A schema as ownership sees it: maps and lists that are owned as a whole or by their parts, and scalars.

use serde_json::Value;

use super::element::{Element, Scalar};
use crate::schema::{ListType, Node, Rest, Type};

/// The type of a value: its schema, or what the value itself shows where the schema leaves it open.
#[derive(Clone, Copy)]
pub(super) enum Typed<'a> {
    Known(&'a Node),
    Deduced,
}

/// What a value is handled as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Map,
    List,
    Scalar,
}

impl<'a> Typed<'a> {
    pub(super) fn of(node: &'a Node) -> Self {
        if node.kind == Type::Any { Self::Deduced } else { Self::Known(node) }
    }

    /// Whether the schema names the field, as the fields of a struct, unlike the entries of a map.
    pub(super) fn names(self, name: &str) -> bool {
        matches!(self, Self::Known(node) if node.properties.contains_key(name))
    }

    /// The type of a field; none if the schema does not allow it.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        let Self::Known(node) = self else { return Some(Self::Deduced) };
        match (node.properties.get(name), &node.rest) {
            (Some(field), _) => Some(Self::of(field)),
            (None, Rest::Of(field)) => Some(Self::of(field)),
            (None, Rest::Anything) => Some(Self::Deduced),
            (None, Rest::Nothing) => node.preserves_unknown.then_some(Self::Deduced),
        }
    }

    /// The same of an object that stands, in which nothing is unknown that matters.
    pub(super) fn live_field(self, name: &str) -> Self {
        self.field(name).unwrap_or(Self::Deduced)
    }

    pub(super) fn item(self) -> Self {
        match self {
            Self::Known(node) => node.items.as_deref().map_or(Self::Deduced, Self::of),
            Self::Deduced => Self::Deduced,
        }
    }

    /// How a list is owned.
    pub(super) fn list(self) -> &'a ListType {
        match self {
            Self::Known(node) => &node.list,
            Self::Deduced => &ListType::Atomic,
        }
    }

    pub(super) fn is_atomic_list(self) -> bool {
        *self.list() == ListType::Atomic
    }

    pub(super) fn is_atomic_map(self) -> bool {
        matches!(self, Self::Known(node) if node.is_atomic_map)
    }

    /// What a value of this type is handled as. A value that does not fit its schema is a scalar: one leaf.
    pub(super) fn shape(self, value: Option<&Value>) -> Shape {
        let shown = match value {
            Some(Value::Object(_)) => Some(Shape::Map),
            Some(Value::Array(_)) => Some(Shape::List),
            None | Some(Value::Null) => None,
            Some(_) => Some(Shape::Scalar),
        };
        let known = match self {
            Self::Deduced => return shown.unwrap_or(Shape::Map),
            Self::Known(node) => match node.kind {
                Type::Object => Shape::Map,
                Type::Array => Shape::List,
                _ => Shape::Scalar,
            },
        };
        if shown.is_none_or(|shown| shown == known) { known } else { Shape::Scalar }
    }

    /// What an item of a list is known by; in the API server's words, why it can't be.
    pub(super) fn element_of(self, item: &Value) -> Result<Element, String> {
        let ListType::Map(keys) = self.list() else { return member(item) };
        let Value::Object(fields) = item else {
            let what = if item.is_null() { "a null element" } else { "non-map elements" };
            return Err(format!("associative list with keys may not have {what}"));
        };
        let default = |key: &str| match self.item() {
            Typed::Known(node) => node.properties.get(key)?.default.as_ref(),
            Typed::Deduced => None,
        };
        let found = keys.iter().filter_map(|key| {
            let value = fields.get(key).or_else(|| default(key))?;
            Some((key.clone(), value.clone()))
        });
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            let keys: Vec<String> = keys.iter().map(|key| crate::schema::quoted(key)).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default \
                 values for any key fields)",
                keys.join(" ")
            ));
        }
        Ok(Element::keyed(found))
    }
}

fn member(item: &Value) -> Result<Element, String> {
    match item {
        Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
        Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
        item => Ok(Element::Value(Scalar(item.clone()))),
    }
}

/// The fields of a map; of a null or of nothing, none.
pub(super) fn fields(value: Option<&Value>) -> Option<&serde_json::Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// The items of a list; of a null or of nothing, none.
pub(super) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
