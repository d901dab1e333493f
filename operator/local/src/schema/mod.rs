//! What the API server knows of a kind: its structural schema, and what follows for an object of the kind.
//!
//! A schema is parsed once and shared; what is done with an object then only walks the two together. Everything here is
//! pure. Messages, reasons and field paths are the API server's own (`apiextensions-apiserver`, `kube-openapi`).

mod builtin;
mod cause;
mod cel_value;
mod defaults;
mod formats;
mod functions;
mod limits;
mod lists;
mod node;
mod numbers;
mod prune;
mod rules;
mod topology;
mod validate;
mod words;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub use cause::Cause;
use cause::Path;

pub(crate) use node::{ListType, Node, PatchStrategy, Rest, Type};
pub(crate) use words::quoted;

/// The schema of one version of a kind; cheap to clone.
#[derive(Clone)]
pub struct Schema {
    known: Arc<Known>,
}

struct Known {
    openapi: Value,
    root: Node,
    is_builtin: bool,
}

/// A schema that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("is_builtin", &self.known.is_builtin).finish_non_exhaustive()
    }
}

impl Schema {
    /// From the `openAPIV3Schema` of a version in a `CustomResourceDefinition`.
    ///
    /// Fails for a pattern or a CEL rule that can't be compiled.
    pub fn of_crd(openapi: &Value) -> Result<Self, SchemaError> {
        let mut root = Node::parse(openapi)?;
        let metadata = Node::parse(builtin::object_meta())?;
        let declared = root.properties.remove("metadata");
        root.properties.insert("metadata".into(), metadata.limited_by(declared));
        for name in ["apiVersion", "kind"] {
            root.properties.entry(name.into()).or_insert_with(Node::text);
        }
        root.embedded = true;
        root.kind = Type::Object;
        let openapi = builtin::published(openapi);
        Ok(Self { known: Arc::new(Known { openapi, root, is_builtin: false }) })
    }

    /// For a built-in kind; of a kind that is not known, everything is kept and nothing checked.
    #[must_use]
    pub fn of_builtin(group: &str, kind: &str) -> Self {
        builtin::schema(group, kind)
    }

    fn builtin(openapi: Value) -> Result<Self, SchemaError> {
        let mut root = Node::parse(&openapi)?;
        root.embedded = true;
        Ok(Self { known: Arc::new(Known { openapi, root, is_builtin: true }) })
    }

    /// As `OpenAPI` v3 publishes it, with every reference written out.
    #[must_use]
    pub fn openapi(&self) -> &Value {
        &self.known.openapi
    }

    pub(crate) fn root(&self) -> &Node {
        &self.known.root
    }

    /// Takes out what the schema does not know; gives the paths, as `spec.inputz`, sorted.
    #[must_use]
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(self.root(), object)
    }

    /// Takes out nulls that mean nothing and puts defaults in.
    pub fn default(&self, object: &mut Value) {
        defaults::drop_nulls(object, Some(self.root()));
        defaults::fill(object, self.root());
    }

    /// What is wrong with `new`, also with the change from `old` to it.
    ///
    /// What was wrong before and did not change is let through, as the API server's ratcheting does.
    #[must_use]
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        self.find_causes(new, old, false)
    }

    /// What is wrong with a new object of which something else is wrong already: `found` may keep rules from being run.
    pub(crate) fn validate_beside(&self, found: &[Cause], new: &Value) -> Vec<Cause> {
        self.find_causes(new, None, found.iter().any(Cause::hides_rules))
    }

    fn find_causes(&self, new: &Value, old: Option<&Value>, hides_rules: bool) -> Vec<Cause> {
        let mut causes = Vec::new();
        validate::check(self.root(), new, old, Path::Root, &mut causes);
        if self.known.is_builtin {
            return causes;
        }
        if old.is_none_or(|old| lists::duplicates(self.root(), old).is_empty()) {
            causes.extend(lists::duplicates(self.root(), new));
        }
        if hides_rules || causes.iter().any(Cause::hides_rules) {
            causes.push(Cause::rules_not_checked());
        } else {
            rules::check(self.root(), new, old, &mut causes);
        }
        causes
    }
}

/// The schema of all objects' metadata.
pub(crate) fn object_meta() -> &'static serde_json::Value {
    builtin::object_meta()
}

#[cfg(test)]
mod tests;
