//! Nulls and defaults, as apiextensions' `defaulting` treats them.

use serde_json::Value;

use super::node::Node;

/// Takes out the nulls of fields that may not be null and have no default.
pub(super) fn drop_nulls(value: &mut Value, node: Option<&Node>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                let field = node.and_then(|node| node.field(name));
                !(value.is_null() && field.is_some_and(|field| !field.nullable && field.default.is_none()))
            });
            for (name, value) in fields {
                drop_nulls(value, node.and_then(|node| node.field(name)));
            }
        }
        Value::Array(items) => {
            for item in items {
                drop_nulls(item, node.and_then(|node| node.items.as_deref()));
            }
        }
        _ => {}
    }
}

/// Puts defaults in where a field is missing, or null and may not be.
pub(super) fn fill(value: &mut Value, node: &Node) {
    match value {
        Value::Object(fields) => {
            for (name, field) in &node.properties {
                let Some(default) = &field.default else { continue };
                let is_missing = match fields.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !field.nullable,
                };
                if is_missing {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields {
                if let Some(field) = node.field(name) {
                    replace_null(value, field);
                    fill(value, field);
                }
            }
        }
        Value::Array(items) => {
            let Some(node) = node.items.as_deref() else { return };
            for item in items {
                replace_null(item, node);
                fill(item, node);
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, node: &Node) {
    if value.is_null()
        && !node.nullable
        && let Some(default) = &node.default
    {
        *value = default.clone();
    }
}
