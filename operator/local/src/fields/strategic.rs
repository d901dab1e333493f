//! Strategic merge patch.
use serde_json::Value;

use crate::schema::Schema;

/// A patch that makes no sense for the kind.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PatchError(pub String);

/// `live` after a strategic merge patch.
pub fn strategic_merge(_schema: &Schema, live: &Value, _patch: &Value) -> Result<Value, PatchError> {
    Ok(live.clone())
}
