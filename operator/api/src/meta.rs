//! Small pieces that several kinds share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Secret in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A place in the store: a span of one pack.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrameRef {
    /// The pack's id.
    #[schemars(length(min = 36, max = 36))]
    pub pack: String,
    /// Byte offset of the first frame in the pack.
    pub offset: u64,
    /// Stored length in bytes.
    pub length: u64,
}

/// A Commit that something stands on.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputCommit {
    /// The input's name in the Pipeline.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The Repo that was read.
    #[schemars(length(min = 1, max = 52))]
    pub repo: String,
    /// The branch that was read.
    #[schemars(length(min = 1, max = 63))]
    pub branch: String,
    /// The uid of the Commit that was read.
    #[schemars(length(min = 36, max = 36))]
    pub commit: String,
}
