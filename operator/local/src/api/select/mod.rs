//! Which objects a list or a watch is about.

mod fields;
mod labels;

use serde_json::Value;

use super::failure::Failure;
use super::kinds::Kind;
use super::query::Query;
use fields::Fields;
use labels::Labels;

/// A namespace, labels and fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// Empty for all.
    namespace: String,
    labels: Labels,
    fields: Fields,
}

impl Selection {
    pub(crate) fn of(kind: &Kind, namespace: &str, query: &Query) -> Result<Self, Failure> {
        Ok(Self {
            namespace: namespace.into(),
            labels: Labels::parse(query.get("labelSelector").unwrap_or_default())?,
            fields: Fields::parse(query.get("fieldSelector").unwrap_or_default(), kind)?,
        })
    }

    /// One object.
    pub(crate) fn of_one(kind: &Kind, namespace: &str, name: &str) -> Result<Self, Failure> {
        let fields = Fields::parse(&format!("metadata.name={name}"), kind)?;
        Ok(Self { namespace: namespace.into(), labels: Labels::default(), fields })
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether all objects of the namespace are meant.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object in the namespace is meant.
    pub(crate) fn has(&self, object: &Value) -> bool {
        self.labels.matches(&object["metadata"]["labels"]) && self.fields.matches(object)
    }
}
