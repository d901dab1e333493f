//! One step of a path to a field: a name, or what an item of a list is known by.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

use crate::schema::quoted;

/// A step; ordered as the API server orders them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    Field(String),
    /// The item of a list that has these values, sorted by name.
    Key(Vec<(String, Scalar)>),
    /// The item of a set that is this value.
    Value(Scalar),
    /// The item of an atomic list; only read, since the API server never writes one.
    Index(i64),
}

/// A value that is no list and no map, with an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar(pub(super) Value);

impl Element {
    pub(super) fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// As a key of `fieldsV1`.
    pub(super) fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), value.0.clone()));
                format!("k:{}", Value::Object(fields.collect::<Map<_, _>>()))
            }
            Self::Value(value) => format!("v:{}", value.0),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// From a key of `fieldsV1`; none if it is not one.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::field(rest)),
            "v" => Some(Self::Value(Scalar(serde_json::from_str(rest).ok()?))),
            "i" => Some(Self::Index(rest.parse().ok()?)),
            "k" => {
                let fields: Map<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::keyed(fields.into_iter().collect()))
            }
            _ => None,
        }
    }

    pub(super) fn keyed(fields: Vec<(String, Value)>) -> Self {
        let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, Scalar(value))).collect();
        fields.sort();
        Self::Key(fields)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", fields.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::String(text) => f.write_str(&quoted(text)),
            other => write!(f, "{other}"),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    /// Numbers, then texts, then booleans, then the rest by how it is written.
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |value: &Value| match value {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            _ => 3,
        };
        match (&self.0, &other.0) {
            (Value::Number(one), Value::Number(another)) => {
                let floats = one.as_f64().unwrap_or(0.0).total_cmp(&another.as_f64().unwrap_or(0.0));
                let whole = one.as_i64().zip(another.as_i64()).map(|(one, another)| one.cmp(&another));
                // Equal only if the numbers are, so that the order agrees with `Eq`.
                whole.unwrap_or_else(|| floats.then_with(|| one.to_string().cmp(&another.to_string())))
            }
            (Value::String(one), Value::String(another)) => one.cmp(another),
            (Value::Bool(one), Value::Bool(another)) => one.cmp(another),
            (one, another) => rank(one).cmp(&rank(another)).then_with(|| one.to_string().cmp(&another.to_string())),
        }
    }
}
