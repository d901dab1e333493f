//! A structural schema as a tree that is quick to walk: types, topology, defaults, limits and rules of each field.

use std::collections::BTreeMap;

use serde_json::Value;

use super::SchemaError;
use super::limits::Limits;
use super::rules::Rule;

/// The one type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

/// How a list is owned and merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListType {
    Atomic,
    Set,
    /// Items are known by the values of these fields.
    Map(Vec<String>),
}

/// What a field may hold that `properties` does not name.
pub(crate) enum Rest {
    Nothing,
    Anything,
    Of(Box<Node>),
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, Default)]
pub(crate) struct PatchStrategy {
    pub(crate) merges: bool,
    pub(crate) retains_keys: bool,
    pub(crate) key: Option<String>,
}

/// The schema of one value and of all below it.
#[allow(clippy::struct_excessive_bools, reason = "the switches that a schema has")]
pub(crate) struct Node {
    pub(crate) kind: Type,
    pub(super) format: Option<String>,
    pub(super) nullable: bool,
    pub(crate) default: Option<Value>,
    pub(crate) properties: BTreeMap<String, Node>,
    pub(crate) rest: Rest,
    pub(crate) items: Option<Box<Node>>,
    pub(crate) list: ListType,
    pub(crate) is_atomic_map: bool,
    pub(crate) preserves_unknown: bool,
    pub(super) embedded: bool,
    pub(crate) patch: PatchStrategy,
    pub(super) limits: Limits,
    pub(super) rules: Vec<Rule>,
    /// Whether a rule stands here or anywhere below.
    pub(super) has_rules: bool,
}

impl Node {
    pub(super) fn parse(schema: &Value) -> Result<Self, SchemaError> {
        let mut properties = BTreeMap::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            properties.insert(name.clone(), Self::parse(property)?);
        }
        let rest = match &schema["additionalProperties"] {
            Value::Bool(true) => Rest::Anything,
            Value::Object(more) if more.is_empty() => Rest::Anything,
            more @ Value::Object(_) => Rest::Of(Box::new(Self::parse(more)?)),
            _ => Rest::Nothing,
        };
        let items = match &schema["items"] {
            items @ Value::Object(_) => Some(Box::new(Self::parse(items)?)),
            _ => None,
        };
        let rules = Rule::all_of(schema)?;
        let below = items.as_deref().into_iter().chain(properties.values());
        let below = below.chain(if let Rest::Of(node) = &rest { Some(node.as_ref()) } else { None });
        let has_rules = !rules.is_empty() || below.into_iter().any(|node| node.has_rules);
        let is = |name: &str| schema[name].as_bool() == Some(true);
        Ok(Self {
            kind: type_of(schema)?,
            format: schema["format"].as_str().map(Into::into),
            nullable: is("nullable"),
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            properties,
            rest,
            items,
            list: list_type(schema),
            is_atomic_map: schema["x-kubernetes-map-type"] == "atomic",
            preserves_unknown: is("x-kubernetes-preserve-unknown-fields"),
            embedded: is("x-kubernetes-embedded-resource"),
            patch: patch_strategy(schema),
            limits: Limits::parse(schema)?,
            rules,
            has_rules,
        })
    }

    /// A plain text.
    pub(super) fn text() -> Self {
        Self {
            kind: Type::String,
            format: None,
            nullable: false,
            default: None,
            properties: BTreeMap::new(),
            rest: Rest::Nothing,
            items: None,
            list: ListType::Atomic,
            is_atomic_map: false,
            preserves_unknown: false,
            embedded: false,
            patch: PatchStrategy::default(),
            limits: Limits::default(),
            rules: Vec::new(),
            has_rules: false,
        }
    }

    /// The metadata of all objects, with what a CRD demands of it: limits and rules of `name` and `generateName`.
    pub(super) fn limited_by(mut self, declared: Option<Self>) -> Self {
        let Some(declared) = declared else { return self };
        self.has_rules |= declared.has_rules;
        self.rules = declared.rules;
        for (name, node) in declared.properties {
            self.properties.insert(name, node);
        }
        self
    }

    /// The schema of a field, also of one that `properties` does not name.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.rest {
            Rest::Of(node) => Some(node),
            _ => None,
        })
    }
}

fn type_of(schema: &Value) -> Result<Type, SchemaError> {
    if schema["x-kubernetes-int-or-string"] == true {
        return Ok(Type::IntOrString);
    }
    match &schema["type"] {
        Value::Null => Ok(Type::Any),
        Value::String(name) => match name.as_str() {
            "object" => Ok(Type::Object),
            "array" => Ok(Type::Array),
            "string" => Ok(Type::String),
            "integer" => Ok(Type::Integer),
            "number" => Ok(Type::Number),
            "boolean" => Ok(Type::Boolean),
            "" => Ok(Type::Any),
            other => Err(SchemaError(format!("type {other} is not one of a structural schema"))),
        },
        other => Err(SchemaError(format!("type must be a single text, not {other}"))),
    }
}

fn list_type(schema: &Value) -> ListType {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(texts(&schema["x-kubernetes-list-map-keys"])),
        _ => ListType::Atomic,
    }
}

fn patch_strategy(schema: &Value) -> PatchStrategy {
    let mut strategy = PatchStrategy {
        key: schema["x-kubernetes-patch-merge-key"].as_str().map(Into::into),
        ..PatchStrategy::default()
    };
    for word in schema["x-kubernetes-patch-strategy"].as_str().unwrap_or_default().split(',') {
        strategy.merges |= word == "merge";
        strategy.retains_keys |= word == "retainKeys";
    }
    strategy
}

pub(super) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(Into::into)).collect()
}

impl Type {
    /// As messages name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
        }
    }

    /// The type of a value, with the format that the API server takes it to have.
    pub(super) fn found(value: &Value) -> (&'static str, &'static str) {
        match value {
            Value::Null => ("null", ""),
            Value::Bool(_) => ("boolean", ""),
            Value::String(_) => ("string", ""),
            Value::Array(_) => ("array", ""),
            Value::Object(_) => ("object", ""),
            Value::Number(number) if number.is_f64() => ("number", "float64"),
            Value::Number(_) => ("integer", "int64"),
        }
    }
}
