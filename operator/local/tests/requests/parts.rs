//! Parts of an answer by their paths: `/items/*/metadata`, `/resources/name=repos/verbs`.
//!
//! A step is a field, a place in a list, `*` for all of either, or `field=value` for the items that have this value.

use serde_json::{Map, Value};

/// What of `value` lies at these paths, as a tree of its own.
pub(crate) fn only(value: &Value, paths: &[String]) -> Value {
    let mut found = Value::Null;
    for path in paths {
        let parts = select(value, &steps(path));
        found = merge(found, parts);
    }
    found
}

/// `value` without what lies at these paths.
pub(crate) fn without(mut value: Value, paths: &[String]) -> Value {
    for path in paths {
        remove(&mut value, &steps(path));
    }
    value
}

fn steps(path: &str) -> Vec<&str> {
    path.split('/').skip(1).collect()
}

/// Whether a step leads to this item of a list.
fn leads_to(step: &str, index: usize, item: &Value) -> bool {
    match step.split_once('=') {
        Some((field, wanted)) => item[field] == wanted.replace("~1", "/"),
        None => step == "*" || step.parse() == Ok(index),
    }
}

fn select(value: &Value, steps: &[&str]) -> Value {
    let Some((step, rest)) = steps.split_first() else { return value.clone() };
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(field, _)| *step == "*" || step.replace("~1", "/") == **field)
            .map(|(field, below)| (field.clone(), select(below, rest)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .filter(|(index, item)| leads_to(step, *index, item))
            .map(|(_, item)| select(item, rest))
            .collect(),
        _ => Value::Null,
    }
}

fn remove(value: &mut Value, steps: &[&str]) {
    match (steps, value) {
        ([last], Value::Object(fields)) if *last != "*" => drop(fields.remove(&last.replace("~1", "/"))),
        ([last], Value::Array(items)) => {
            let mut index = 0..;
            items.retain(|item| !leads_to(last, index.next().unwrap_or_default(), item));
        }
        ([step, rest @ ..], Value::Object(fields)) => {
            let below = fields.iter_mut().filter(|(field, _)| *step == "*" || step.replace("~1", "/") == **field);
            below.for_each(|(_, below)| remove(below, rest));
        }
        ([step, rest @ ..], Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                if leads_to(step, index, item) {
                    remove(item, rest);
                }
            }
        }
        _ => {}
    }
}

/// Lays one tree over another; lists that were selected from the same list lie item over item.
fn merge(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Null, other) => other,
        (Value::Object(mut fields), Value::Object(others)) => {
            for (field, value) in others {
                let kept = fields.remove(&field).unwrap_or_default();
                fields.insert(field, merge(kept, value));
            }
            fields.into()
        }
        (Value::Array(mut items), Value::Array(others)) if items.len() == others.len() => {
            for (item, other) in items.iter_mut().zip(others) {
                *item = merge(item.take(), other);
            }
            items.into()
        }
        (Value::Array(items), Value::Array(others)) => items.into_iter().chain(others).collect(),
        (one, _) => one,
    }
}
