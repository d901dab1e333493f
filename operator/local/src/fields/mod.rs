//! Who manages which field, and what follows for a write: server-side apply, `managedFields`, strategic merge.
//!
//! A port of `sigs.k8s.io/structured-merge-diff` and of apimachinery's `managedfields` and `strategicpatch`, for kinds
//! that have one version: objects are never converted. Everything here is pure.

mod apply;
mod check;
mod collect;
mod compare;
mod element;
mod encoding;
mod last_applied;
mod managers;
mod merge;
mod remove;
mod set;
mod strategic;
mod typed;
mod update;

use std::fmt;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use apply::apply;
pub use check::{Malformed, check_applied};
pub use strategic::{PatchError, strategic_merge};
pub use update::{create, update};

/// Who writes, and how that is told in `managedFields`.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// `fieldManager`.
    pub manager: &'a str,
    /// `status` or `scale`.
    pub subresource: Option<&'a str>,
    /// The version that is written in, as `varve.dev/v1alpha1`.
    pub api_version: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Fields of others that an apply would change, by manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The API server's words: `conflict with "kubectl" using varve.dev/v1alpha1`.
    pub message: String,
    /// `.spec.parallelism`.
    pub field: String,
}

impl fmt::Display for Conflicts {
    /// The message of the API server's answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: {}: {}", only.message, only.field);
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut before = None;
        for Conflict { message, field } in &self.0 {
            if before != Some(message) {
                let newline = if before.is_some() { "\n" } else { "" };
                write!(f, "{newline}{}:", message.replacen("conflict", "conflicts", 1))?;
                before = Some(message);
            }
            write!(f, "\n- {field}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Conflicts {}

/// What stands before an object is there.
fn nothing_of(object: &Value) -> Value {
    json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {} })
}

/// Takes `metadata.managedFields` out.
fn take_managed_fields(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
