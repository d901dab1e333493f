//! Lists in a strategic merge patch: scalars are added, maps are merged by the field that they are known by.

use serde_json::{Map, Value};

use super::{DIRECTIVE, PatchError, merge_maps, unknown_directive};
use crate::schema::Node;

/// The items of both lists. Those of the patch keep its order, the others theirs.
pub(super) fn merge_lists(original: Vec<Value>, patch: Vec<Value>, node: &Node) -> Result<Vec<Value>, PatchError> {
    if original.iter().chain(&patch).any(Value::is_array) {
        return Err(PatchError("lists of lists are not supported".into()));
    }
    if !original.iter().chain(&patch).any(Value::is_object) {
        let mut both: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
        for item in original.iter().chain(&patch) {
            if !both.contains(item) {
                both.push(item.clone());
            }
        }
        return Ok(in_order(both, &patch, &original, None));
    }
    let key = node.patch.key.as_deref();
    let key = key.ok_or_else(|| PatchError("cannot merge lists without merge key".into()))?;
    let patch = patch.into_iter().map(|item| keyed(item, key)).collect::<Result<Vec<_>, _>>()?;
    let (mut merged, patch) = without_directives(original, patch, key)?;
    let server_order = merged.clone();
    for item in &patch {
        match merged.iter_mut().find(|other| other.get(key) == item.get(key)) {
            Some(place) => {
                let old = std::mem::take(place).as_object().cloned().unwrap_or_default();
                *place = Value::Object(merge_maps(old, item.clone(), node.items.as_deref())?);
            }
            None => merged.push(Value::Object(item.clone())),
        }
    }
    let order: Vec<Value> = patch.into_iter().map(Value::Object).collect();
    Ok(in_order(merged, &order, &server_order, Some(key)))
}

type Item = Map<String, Value>;

/// An item of a patch, which must have the key, unless it says that all others go.
fn keyed(item: Value, key: &str) -> Result<Item, PatchError> {
    match item {
        Value::Object(item) if item.contains_key(key) || item.get(DIRECTIVE) == Some(&"replace".into()) => Ok(item),
        other => Err(PatchError(format!("map: {other} does not contain declared merge key: {key}"))),
    }
}

/// The original without what the patch's directives delete, and the patch without the directives.
fn without_directives(
    mut original: Vec<Value>,
    patch: Vec<Item>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Item>), PatchError> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replaces = false;
    for item in patch {
        match item.get(DIRECTIVE) {
            None => rest.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => original.retain(|other| other.get(key) != item.get(key)),
                Some("replace") => replaces = true,
                Some("merge") => return Err(PatchError("merging lists cannot yet be specified in the patch".into())),
                _ => return Err(unknown_directive(directive)),
            },
        }
    }
    if replaces {
        return Ok((rest.into_iter().map(Value::Object).collect(), Vec::new()));
    }
    Ok((original, rest))
}

/// Items in the order of a patch, with those that the patch does not name between them, where the live list has them.
pub(super) fn in_order(items: Vec<Value>, order: &[Value], live: &[Value], key: Option<&str>) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| {
        list.iter().position(|other| match key {
            Some(key) => item.get(key) == other.get(key),
            None => item == other,
        })
    };
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    others.sort_by_key(|item| place(live, item).unwrap_or(usize::MAX));

    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        let here = place(live, &item);
        while let Some(other) = others.next_if(|other| match (place(live, other), here) {
            (Some(other), Some(here)) => other < here,
            _ => false,
        }) {
            out.push(other);
        }
        out.push(item);
    }
    out.extend(others);
    out
}
