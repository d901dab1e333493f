//! Objects as CEL sees them: numbers, times and names of fields by the schema, as apiextensions' `UnstructuredToVal`.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::DateTime;
use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map};
use serde_json::Value;

use super::node::{ListType, Node, Type};

/// A value for CEL.
pub(super) fn to_cel(value: &Value, node: Option<&Node>) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(bool) => Cel::Bool(*bool),
        Value::Number(number) => match (number.as_i64(), node.map(|node| node.kind)) {
            (Some(whole), kind) if kind != Some(Type::Number) => Cel::Int(whole),
            _ => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text_to_cel(text, node),
        Value::Array(items) => {
            let below = node.and_then(|node| node.items.as_deref());
            Cel::List(Arc::new(items.iter().map(|item| to_cel(item, below)).collect()))
        }
        Value::Object(fields) => {
            let mut map = HashMap::with_capacity(fields.len());
            for (name, value) in fields {
                let below = node.and_then(|node| node.field(name));
                let is_declared = node.is_some_and(|node| node.properties.contains_key(name));
                let name = if is_declared { identifier(name) } else { name.clone() };
                map.insert(Key::String(Arc::new(name)), to_cel(value, below));
            }
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

fn text_to_cel(text: &str, node: Option<&Node>) -> Cel {
    let format = node.filter(|node| node.kind == Type::String).and_then(|node| node.format.as_deref());
    if format == Some("date-time")
        && let Ok(time) = DateTime::parse_from_rfc3339(text)
    {
        return Cel::Timestamp(time);
    }
    Cel::String(Arc::new(text.to_owned()))
}

/// `old` with the items of its sets and maps in the order that `new` has them in, since the order of those means nothing.
pub(super) fn in_order_of(old: &Value, new: &Value, node: &Node) -> Value {
    match (old, new) {
        (Value::Object(fields), Value::Object(_)) => fields
            .iter()
            .map(|(name, old)| {
                let aligned = match (new.get(name), node.field(name)) {
                    (Some(new), Some(node)) => in_order_of(old, new, node),
                    _ => old.clone(),
                };
                (name.clone(), aligned)
            })
            .collect(),
        (Value::Array(items), Value::Array(new)) if node.list != ListType::Atomic => {
            let place = |item: &Value| match &node.list {
                ListType::Set => new.iter().position(|other| other == item),
                _ => new.iter().position(|other| keyed_alike(node, other, item)),
            };
            let mut placed: Vec<(usize, Value)> = items
                .iter()
                .map(|item| match (place(item), node.items.as_deref()) {
                    (Some(place), Some(below)) => (place, in_order_of(item, &new[place], below)),
                    (place, _) => (place.unwrap_or(usize::MAX), item.clone()),
                })
                .collect();
            placed.sort_by_key(|(place, _)| *place);
            Value::Array(placed.into_iter().map(|(_, item)| item).collect())
        }
        (old, _) => old.clone(),
    }
}

fn keyed_alike(node: &Node, one: &Value, other: &Value) -> bool {
    let ListType::Map(keys) = &node.list else { return false };
    keys.iter().all(|key| one.get(key) == other.get(key))
}

/// A field's name as CEL can write it (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#resource-field-escaping>).
fn identifier(name: &str) -> String {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}
