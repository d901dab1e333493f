//! Types, limits and formats of a value, in the order and with the messages of `kube-openapi`'s validators.

use serde_json::{Map, Number, Value};

use super::cause::{Cause, Path};
use super::formats::has_format;
use super::lists::same_item;
use super::node::{Node, Rest, Type};
use super::numbers::{is_whole, plain_float};

/// Adds what is wrong with `new`. A part that equals its `old` one is let through unseen.
pub(super) fn check(node: &Node, new: &Value, old: Option<&Value>, at: Path, causes: &mut Vec<Cause>) {
    if old == Some(new) {
        return;
    }
    check_type(node, new, &at, causes);
    if new.is_null() {
        check_choices(node, new, &at, causes);
        return;
    }
    check_combined(node, new, &at, causes);
    match new {
        Value::String(text) => check_text(node, text, &at, causes),
        Value::Number(number) => check_number(node, number, &at, causes),
        Value::Array(items) => check_items(node, items, old, &at, causes),
        _ => {}
    }
    check_choices(node, new, &at, causes);
    if let Value::Object(fields) = new {
        check_fields(node, fields, old, &at, causes);
    }
}

fn check_type(node: &Node, value: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let (found, found_format) = Type::found(value);
    let is_whole_float = value.as_f64().is_some_and(is_whole);
    let fits = match node.kind {
        Type::Any => true,
        _ if value.is_null() => node.nullable,
        Type::Integer => found == "integer" || is_whole_float,
        Type::IntOrString => found == "integer" || found == "string" || is_whole_float,
        Type::Number => value.is_number(),
        kind => kind.name() == found,
    };
    if fits {
        return;
    }
    let number_format = match &node.format {
        Some(format) if matches!(value, Value::Number(_) | Value::Bool(_) | Value::Object(_)) => Some(format),
        _ => None,
    };
    let (wanted, found) = match number_format {
        Some(format) => (format.as_str(), found_format),
        None => (node.kind.name(), found),
    };
    causes.push(wrong_type(at, wanted, found));
}

fn wrong_type(at: &Path, wanted: &str, found: &str) -> Cause {
    let detail = format!("{} in body must be of type {wanted}: {}", at.name(), super::quoted(found));
    Cause::wrong_type(at, found, &detail)
}

fn check_choices(node: &Node, value: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let choices = &node.limits.choices;
    if !choices.is_empty() && !choices.contains(value) {
        causes.push(Cause::not_supported(at, value, choices));
    }
}

fn check_text(node: &Node, text: &str, at: &Path, causes: &mut Vec<Cause>) {
    let limits = &node.limits;
    let length = || text.chars().count() as u64;
    let value = || Value::from(text);
    if let Some(most) = limits.max_length.filter(|most| length() > *most) {
        causes.push(Cause::too_long(at, most));
    } else if let Some(least) = limits.min_length.filter(|least| length() < *least) {
        causes.push(body(at, &value(), &format!("should be at least {least} chars long")));
    } else if let Some(pattern) = limits.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        causes.push(body(at, &value(), &format!("should match '{pattern}'")));
    }
    if let Some(format) = node.format.as_ref().filter(|format| !has_format(format, text)) {
        causes.push(wrong_type(at, format, text));
    }
}

fn check_number(node: &Node, number: &Number, at: &Path, causes: &mut Vec<Cause>) {
    let limits = &node.limits;
    let value = Value::Number(number.clone());
    let float = number.as_f64().unwrap_or(f64::NAN);
    if let (Type::Integer, Some(format)) = (node.kind, node.format.as_deref())
        && !fits_format(number, format)
    {
        let detail = format!("Checked value must be of type integer with format {format} in {}", at.name());
        causes.push(Cause::invalid(&Path::Root, &Value::from(""), &detail));
    }
    if let Some(factor) = limits.multiple_of.filter(|factor| !is_whole(float / factor)) {
        causes.push(body(at, &value, &format!("should be a multiple of {}", plain_float(factor))));
    }
    if let Some(least) = limits.least
        && (float < least.value || (least.is_exclusive && float <= least.value))
    {
        let than = if least.is_exclusive { "than" } else { "than or equal to" };
        causes.push(body(at, &value, &format!("should be greater {than} {}", plain_float(least.value))));
    }
    if let Some(most) = limits.most
        && (float > most.value || (most.is_exclusive && float >= most.value))
    {
        let than = if most.is_exclusive { "than" } else { "than or equal to" };
        causes.push(body(at, &value, &format!("should be less {than} {}", plain_float(most.value))));
    }
}

fn fits_format(number: &Number, format: &str) -> bool {
    match format {
        "int32" => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "int64" => number.as_i64().is_some(),
        _ => true,
    }
}

fn check_items(node: &Node, items: &[Value], old: Option<&Value>, at: &Path, causes: &mut Vec<Cause>) {
    let limits = &node.limits;
    if let Some(below) = &node.items {
        for (index, item) in items.iter().enumerate() {
            let old = old.and_then(|old| same_item(node, old, item));
            check(below, item, old, Path::Index(at, index), causes);
        }
    }
    let count = items.len() as u64;
    if let Some(least) = limits.min_items.filter(|least| count < *least) {
        causes.push(body(at, &Value::from(count), &format!("should have at least {least} items")));
    }
    if let Some(most) = limits.max_items.filter(|most| count > *most) {
        causes.push(Cause::too_many(at, items.len(), most));
    }
    if limits.unique_items && items.iter().enumerate().any(|(index, item)| items[..index].contains(item)) {
        causes.push(body(at, &Value::from(""), "shouldn't contain duplicates"));
    }
}

fn check_fields(node: &Node, fields: &Map<String, Value>, old: Option<&Value>, at: &Path, causes: &mut Vec<Cause>) {
    let limits = &node.limits;
    let count = fields.len() as u64;
    if let Some(least) = limits.min_properties.filter(|least| count < *least) {
        causes.push(body(at, &Value::from(count), &format!("should have at least {least} properties")));
    }
    if let Some(most) = limits.max_properties.filter(|most| count > *most) {
        causes.push(Cause::too_many(at, fields.len(), most));
    }
    if let Rest::Of(below) = &node.rest {
        for (name, value) in fields.iter().filter(|(name, _)| !node.properties.contains_key(*name)) {
            check(below, value, old.and_then(|old| old.get(name)), Path::Field(at, name), causes);
        }
    }
    for (name, below) in &node.properties {
        if let Some(value) = fields.get(name) {
            check(below, value, old.and_then(|old| old.get(name)), Path::Field(at, name), causes);
        }
    }
    for name in limits.required.iter().filter(|name| !fields.contains_key(*name)) {
        causes.push(Cause::required(&Path::Field(at, name), ""));
    }
}

/// `anyOf`, `oneOf`, `allOf` and `not`; of alternatives that all fail, what is wrong with the best one is told too.
fn check_combined(node: &Node, value: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let limits = &node.limits;
    let name = || super::quoted(&at.name());
    let of = |node: &Node| {
        let mut causes = Vec::new();
        check(node, value, None, *at, &mut causes);
        causes
    };
    let root = |detail: String| Cause::invalid(&Path::Root, &Value::from(""), &detail);
    if let Some(best) = best_of(&limits.any_of, of).filter(|best| !best.causes.is_empty()) {
        causes.push(root(format!("{} must validate at least one schema (anyOf)", name())));
        causes.extend(best.causes);
    }
    if let Some(best) = best_of(&limits.one_of, of).filter(|best| best.fitting != 1) {
        let found = match best.fitting {
            0 => "Found none valid".to_owned(),
            several => format!("Found {several} valid alternatives"),
        };
        causes.push(root(format!("{} must validate one and only one schema (oneOf). {found}", name())));
        causes.extend(best.causes);
    }
    let failures: Vec<Vec<Cause>> = limits.all_of.iter().map(of).collect();
    if failures.iter().any(|failure| !failure.is_empty()) {
        let outcome = if failures.iter().all(|failure| !failure.is_empty()) { ". None validated" } else { "" };
        causes.extend(failures.into_iter().flatten());
        causes.push(root(format!("{} must validate all the schemas (allOf){outcome}", name())));
    }
    if limits.not.as_deref().is_some_and(|node| of(node).is_empty()) {
        causes.push(root(format!("{} must not validate the schema (not)", name())));
    }
}

/// Of alternatives: what is wrong with the one that fits best, and how many fit.
struct Best {
    causes: Vec<Cause>,
    fitting: usize,
}

fn best_of(alternatives: &[Node], of: impl Fn(&Node) -> Vec<Cause>) -> Option<Best> {
    let all: Vec<Vec<Cause>> = alternatives.iter().map(of).collect();
    let fitting = all.iter().filter(|causes| causes.is_empty()).count();
    all.into_iter().min_by_key(Vec::len).map(|causes| Best { causes, fitting })
}

fn body(at: &Path, value: &Value, what: &str) -> Cause {
    Cause::invalid(at, value, &format!("{} in body {what}", at.name()))
}
