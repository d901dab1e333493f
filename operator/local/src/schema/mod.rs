//! What the API server knows of a kind: its structural schema.

use serde_json::Value;

/// The schema of one version of a kind.
#[derive(Debug, Clone)]
pub struct Schema {
    openapi: Value,
}

/// A schema that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// One thing that is wrong with an object, as a `Status` lists it in `details.causes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, …
    pub reason: &'static str,
    /// The API server's words, as `Invalid value: "x": must be …`.
    pub message: String,
    /// `spec.inputs[0].name`.
    pub field: String,
}

impl Schema {
    /// From the `openAPIV3Schema` of a version in a `CustomResourceDefinition`.
    pub fn of_crd(openapi: &Value) -> Result<Self, SchemaError> {
        Ok(Self { openapi: openapi.clone() })
    }

    /// For a built-in kind.
    pub fn of_builtin(_group: &str, _kind: &str) -> Self {
        Self { openapi: Value::Null }
    }

    /// As OpenAPI v3 publishes it.
    pub fn openapi(&self) -> &Value {
        &self.openapi
    }

    /// Takes out what the schema does not know; gives the paths, as `spec.inputz`.
    pub fn prune(&self, _object: &mut Value) -> Vec<String> {
        Vec::new()
    }

    /// Puts defaults in.
    pub fn default(&self, _object: &mut Value) {}

    /// What is wrong with `new`, also with the change from `old` to it.
    pub fn validate(&self, _new: &Value, _old: Option<&Value>) -> Vec<Cause> {
        Vec::new()
    }
}
