//! Whether an object that is applied fits its schema: an apply may hold no field that the schema does not have.

use std::fmt;

use serde_json::Value;

use super::typed::{Typed, items};
use crate::schema::{Node, Schema, Type, quoted};

/// An applied object that can't be read by its schema.
///
/// Its text is what the API server (which answers with status 500) writes after `failed to create typed patch object
/// (<namespace>/<name>; <group>/<version>, Kind=<kind>): `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(Vec<String>);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => f.write_str(only),
            several => write!(f, "errors:\n  {}", several.join("\n  ")),
        }
    }
}

impl std::error::Error for Malformed {}

/// Fails if `applied` has fields that the schema does not know, values of other types, or items that are there twice
/// or have no key. To be asked before [`apply`](super::apply).
pub fn check_applied(schema: &Schema, applied: &Value) -> Result<(), Malformed> {
    let mut check = Check { at: String::new(), wrong: Vec::new() };
    check.value(Typed::of(schema.root()), applied);
    if check.wrong.is_empty() { Ok(()) } else { Err(Malformed(check.wrong)) }
}

struct Check {
    at: String,
    wrong: Vec<String>,
}

impl Check {
    fn value(&mut self, typed: Typed, value: &Value) {
        if let Typed::Known(node) = typed
            && let Some(expected) = mismatch(node, value)
        {
            self.add(&expected);
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let step = format!(".{name}");
                    match typed.field(name) {
                        Some(typed) => self.below(&step, |check| check.value(typed, value)),
                        None => self.below(&step, |check| check.add("field not declared in schema")),
                    }
                }
            }
            Value::Array(_) => self.items(typed, value),
            _ => {}
        }
    }

    fn items(&mut self, typed: Typed, list: &Value) {
        let mut seen = Vec::new();
        for (index, item) in items(Some(list)).iter().enumerate() {
            let step = if typed.is_atomic_list() {
                format!("[{index}]")
            } else {
                match typed.element_of(item) {
                    Ok(element) => {
                        if seen.contains(&element) {
                            self.add(&format!("duplicate entries for key {element}"));
                        }
                        let step = element.to_string();
                        seen.push(element);
                        step
                    }
                    Err(reason) => return self.add(&format!("element {index}: {reason}")),
                }
            };
            self.below(&step, |check| check.value(typed.item(), item));
        }
    }

    fn below(&mut self, step: &str, inside: impl FnOnce(&mut Self)) {
        let length = self.at.len();
        self.at.push_str(step);
        inside(self);
        self.at.truncate(length);
    }

    fn add(&mut self, what: &str) {
        self.wrong.push(if self.at.is_empty() { what.to_owned() } else { format!("{}: {what}", self.at) });
    }
}

/// What was expected instead, as the API server prints it: with Go's names and addresses of its own values.
fn mismatch(node: &Node, value: &Value) -> Option<String> {
    let plain = || value.as_str().map_or_else(|| value.to_string(), Into::into);
    match (node.kind, value) {
        (_, Value::Null)
        | (Type::Any, _)
        | (Type::Object, Value::Object(_))
        | (Type::Array, Value::Array(_))
        | (Type::String, Value::String(_))
        | (Type::Boolean, Value::Bool(_))
        | (Type::Integer | Type::Number, Value::Number(_))
        | (Type::IntOrString, Value::Number(_) | Value::String(_) | Value::Bool(_)) => None,
        (Type::Object, _) => Some(format!("expected map, got &{{{}}}", plain())),
        (Type::Array, _) => Some(format!("expected list, got &{{{}}}", plain())),
        (Type::Boolean, _) => Some(format!("expected boolean, got &{{{}}}", plain())),
        (Type::IntOrString, _) => Some(format!("expected any scalar, got &{{{}}}", plain())),
        (Type::String, _) => {
            let value = value.as_str().map_or_else(|| value.to_string(), quoted);
            Some(format!("expected string, got &value.valueUnstructured{{Value:{value}}}"))
        }
        (Type::Integer | Type::Number, _) => {
            let go = match value {
                Value::Bool(_) => "bool",
                Value::String(_) => "string",
                Value::Array(_) => "[]interface {}",
                _ => "map[string]interface {}",
            };
            Some(format!("expected numeric (int or float), got {go}"))
        }
    }
}
