//! Who manages which field, and what follows for a write: server-side apply, `managedFields`, strategic merge.

use jiff::Timestamp;
use serde_json::Value;

use crate::schema::Schema;

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

/// Fields of others that an apply would change.
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

/// The object after `applied` is applied to `live`.
pub fn apply(
    _schema: &Schema,
    _live: Option<&Value>,
    applied: &Value,
    _writer: Writer<'_>,
    _force: bool,
) -> Result<Value, Conflicts> {
    Ok(applied.clone())
}

/// `new` with `managedFields` that say what `writer` changed, after an update, patch or create.
pub fn update(_schema: &Schema, _live: Option<&Value>, new: Value, _writer: Writer<'_>) -> Value {
    new
}

/// A patch that makes no sense for the kind.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PatchError(pub String);

/// `live` after a strategic merge patch.
pub fn strategic_merge(_schema: &Schema, live: &Value, _patch: &Value) -> Result<Value, PatchError> {
    Ok(live.clone())
}
