//! Strategic merge patch: a patch that knows how the lists of a kind are merged, and may say so itself.
//!
//! A port of apimachinery's `strategicpatch`: the directives are `$patch` (`delete`, `replace`), `$retainKeys`,
//! `$deleteFromPrimitiveList/<field>` and `$setElementOrder/<field>`.

mod lists;

use serde_json::{Map, Value};

use crate::schema::{Node, PatchStrategy, Schema};
use lists::{in_order, merge_lists};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER_OF: &str = "$setElementOrder/";

/// A patch that makes no sense for the kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatchError(pub String);

/// `live` after a strategic merge patch.
pub fn strategic_merge(schema: &Schema, live: &Value, patch: &Value) -> Result<Value, PatchError> {
    let (Value::Object(live), Value::Object(patch)) = (live, patch) else {
        return Err(PatchError("expected a map: a strategic merge patch is an object".into()));
    };
    merge_maps(live.clone(), patch.clone(), Some(schema.root())).map(Value::Object)
}

type Fields = Map<String, Value>;

fn merge_maps(mut original: Fields, mut patch: Fields, node: Option<&Node>) -> Result<Fields, PatchError> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Fields::new()),
            _ => Err(unknown_directive(&directive)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    merge_in_order(&mut original, &mut patch, node)?;
    for (name, value) in patch {
        if let Some(name) = name.strip_prefix(DELETE_FROM) {
            delete_from(&mut original, name, &value);
            continue;
        }
        if value.is_null() {
            original.remove(&name);
            continue;
        }
        let field = node.and_then(|node| field_of(node, &name));
        let merged = match (original.remove(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => Some(Value::Object(merge_maps(old, new, field)?)),
            (Some(Value::Array(old)), Value::Array(new)) => Some(Value::Array(match field {
                Some(field) if field.patch.merges => merge_lists(old, new, field)?,
                _ => new,
            })),
            (_, value) => plain(without_nulls(value)),
        };
        if let Some(merged) = merged {
            original.insert(name, merged);
        }
    }
    Ok(original)
}

/// The schema of a field, also of an entry of a map.
fn field_of<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.properties.get(name).or(match &node.rest {
        crate::schema::Rest::Of(node) => Some(node),
        _ => None,
    })
}

/// Takes out of `original` what `$retainKeys` does not name.
fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let wrong = || PatchError("invalid patch format of retainKeys".into());
    let keys = keys.as_array().ok_or_else(wrong)?;
    let is_named = |name: &String| keys.iter().any(|key| key == name);
    let needs_no_name =
        |name: &String, value: &Value| value.is_null() || name.starts_with(DELETE_FROM) || name.starts_with(ORDER_OF);
    if !patch.iter().all(|(name, value)| needs_no_name(name, value) || is_named(name)) {
        return Err(wrong());
    }
    original.retain(|name, _| is_named(name));
    Ok(())
}

/// Merges the lists that `$setElementOrder` names, and puts their items in that order.
fn merge_in_order(original: &mut Fields, patch: &mut Fields, node: Option<&Node>) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|name| name.starts_with(ORDER_OF)).cloned().collect();
    for directive in directives {
        let name = directive.trim_start_matches(ORDER_OF).to_owned();
        let order = list(patch.remove(&directive))?.unwrap_or_default();
        let field = node.and_then(|node| field_of(node, &name));
        let strategy = field.map(|field| field.patch.clone()).unwrap_or_default();
        let (old, new) = (list(original.get(&name).cloned())?, list(patch.remove(&name))?);
        if let Some(new) = &new {
            check_order(new, &order, &strategy)?;
        }
        let server_order = old.clone().unwrap_or_default();
        let merged = match (old, new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(plain).collect(),
            (Some(old), Some(new)) => match field {
                Some(field) if strategy.merges => merge_lists(old, new, field)?,
                _ => new,
            },
        };
        original.insert(name, Value::Array(in_order(merged, &order, &server_order, strategy.key.as_deref())));
    }
    Ok(())
}

/// The items of a patch must stand in the order that the patch asks for.
fn check_order(items: &[Value], order: &[Value], strategy: &PatchStrategy) -> Result<(), PatchError> {
    if items.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut order = order.iter();
    let mut kept = items.iter().filter(|item| item.get(DIRECTIVE).is_none());
    let alike = |item: &Value, other: &Value| match &strategy.key {
        Some(key) => item.get(key) == other.get(key),
        None => item == other,
    };
    if kept.all(|item| order.any(|other| alike(item, other))) {
        Ok(())
    } else {
        Err(PatchError("the order in the patch's list doesn't match its $setElementOrder list".into()))
    }
}

fn list(value: Option<Value>) -> Result<Option<Vec<Value>>, PatchError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(_) => Err(PatchError("invalid patch format of setElementOrder list".into())),
    }
}

fn delete_from(original: &mut Fields, name: &str, gone: &Value) {
    if let (Some(Value::Array(items)), Value::Array(gone)) = (original.get_mut(name), gone) {
        items.retain(|item| !gone.contains(item));
    }
}

/// A value without the maps in it that are directives; none if it is one.
fn plain(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(name, value)| Some((name, plain(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(plain).collect())),
        value => Some(value),
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        value => value,
    }
}

fn unknown_directive(directive: &Value) -> PatchError {
    PatchError(format!("unknown patch type found: {directive}"))
}

#[cfg(test)]
mod tests;
