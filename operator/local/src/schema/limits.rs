//! The limits that a schema sets on a value: how much, how long, which.

use regex::Regex;
use serde_json::Value;

use super::node::{Node, texts};
use super::{SchemaError, Type};

/// All limits of one value; what is absent is not limited.
#[derive(Default)]
pub(super) struct Limits {
    pub(super) required: Vec<String>,
    pub(super) choices: Vec<Value>,
    pub(super) least: Option<Bound>,
    pub(super) most: Option<Bound>,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) pattern: Option<Regex>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) unique_items: bool,
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) all_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) one_of: Vec<Node>,
    pub(super) not: Option<Box<Node>>,
}

/// An end of a range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) value: f64,
    /// Whether the end itself lies outside.
    pub(super) is_exclusive: bool,
}

impl Limits {
    pub(super) fn parse(schema: &Value) -> Result<Self, SchemaError> {
        let bound = |name: &str, exclusive: &str| {
            let is_exclusive = schema[exclusive] == true;
            schema[name].as_f64().map(|value| Bound { value, is_exclusive })
        };
        let pattern = match schema["pattern"].as_str() {
            Some("") | None => None,
            Some(pattern) => {
                Some(Regex::new(pattern).map_err(|error| SchemaError(format!("pattern {pattern}: {error}")))?)
            }
        };
        let several = |name: &str| {
            let schemas = schema[name].as_array().into_iter().flatten();
            schemas.map(Node::parse).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            required: texts(&schema["required"]),
            choices: schema["enum"].as_array().cloned().unwrap_or_default(),
            least: bound("minimum", "exclusiveMinimum"),
            most: bound("maximum", "exclusiveMaximum"),
            multiple_of: schema["multipleOf"].as_f64(),
            min_length: schema["minLength"].as_u64(),
            max_length: schema["maxLength"].as_u64(),
            pattern,
            min_items: schema["minItems"].as_u64(),
            max_items: schema["maxItems"].as_u64(),
            unique_items: schema["uniqueItems"] == true,
            min_properties: schema["minProperties"].as_u64(),
            max_properties: schema["maxProperties"].as_u64(),
            all_of: several("allOf")?,
            any_of: alternatives(schema, several("anyOf")?),
            one_of: several("oneOf")?,
            not: match &schema["not"] {
                Value::Null => None,
                not => Some(Box::new(Node::parse(not)?)),
            },
        })
    }
}

/// `anyOf` less the pair that only repeats `x-kubernetes-int-or-string`.
fn alternatives(schema: &Value, any_of: Vec<Node>) -> Vec<Node> {
    let repeats = schema["x-kubernetes-int-or-string"] == true
        && any_of.iter().map(|node| node.kind).eq([Type::Integer, Type::String]);
    if repeats { Vec::new() } else { any_of }
}
