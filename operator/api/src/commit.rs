//! A Commit: an immutable tree of files in a Repo, and what asked for it.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type and a priority of its own")]

mod changes;
mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use changes::{Change, ConfigMapSource, Copy, CopySource, Delete, ObjectStoreSource, Put};
pub use status::{CommitProvenance, CommitStatus, ResolvedReference};

use crate::meta::FrameRef;
use crate::schema;

/// What this Commit does. It can't be changed: a further change is a further Commit.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "varve.dev",
    version = "v1alpha1",
    kind = "Commit",
    namespaced,
    status = "CommitStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "vcommit",
    category = "varve",
    doc = "A Commit changes a branch of a Repo, once: it puts, copies and deletes files, takes over an uploaded tree, or goes back to an earlier Commit. Applied again it changes nothing, and deleting it takes nothing back.",
    printcolumn(name = "Repo", type_ = "string", json_path = ".spec.repo", description = "The Repo that it changes."),
    printcolumn(
        name = "Branch",
        type_ = "string",
        json_path = ".spec.branch",
        description = "The branch that it changes."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "True when the branch has it."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready, or why not."
    ),
    printcolumn(
        name = "Added",
        type_ = "integer",
        json_path = ".status.added",
        description = "Files that its parent did not have."
    ),
    printcolumn(
        name = "Changed",
        type_ = "integer",
        json_path = ".status.changed",
        description = "Files that its parent had otherwise."
    ),
    printcolumn(
        name = "Removed",
        type_ = "integer",
        json_path = ".status.removed",
        description = "Files that only its parent had."
    ),
    printcolumn(name = "Files", type_ = "integer", json_path = ".status.files", description = "Files in all."),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size", description = "Their bytes together."),
    printcolumn(
        name = "UID",
        type_ = "string",
        priority = 1,
        json_path = ".status.uid",
        description = "What the store, environment variables and other Commits call it."
    ),
    printcolumn(
        name = "By",
        type_ = "string",
        priority = 1,
        json_path = ".status.provenance.pipeline",
        description = "The Pipeline that made it."
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".spec.message",
        description = "What its author says of it."
    ),
    printcolumn(
        name = "Explanation",
        type_ = "string",
        priority = 1,
        json_path = ".status.explanation",
        description = "What is wrong, and what to do."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.repo",
    selectable = ".spec.branch"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("self == oldSelf", "a Commit can't be changed: make another Commit"),
    (
        "(has(self.changes) ? 1 : 0) + (has(self.tree) ? 1 : 0) + (has(self.revertTo) ? 1 : 0) == 1",
        "exactly one of changes, tree and revertTo must be set",
    ),
    (
        "!has(self.changes) || self.changes.map(c, has(c.put) && has(c.put.text) ? c.put.text.size() : 0).sum() <= 131072",
        "the texts in changes may have at most 131072 characters together: put larger files by url or objectStore",
    ),
])))]
pub struct CommitSpec {
    /// The Repo to change, in this namespace.
    #[schemars(length(min = 1, max = 52), extend("x-kubernetes-validations" = schema::object_name("repo")))]
    pub repo: String,

    /// The branch to change. It is made if it isn't there.
    #[serde(default = "default_branch")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::branch_name("branch")))]
    pub branch: String,

    /// The Commit that must be at the head of the branch for this one to land: the uid of a Commit, a
    /// branch, or the name of a Commit object of this Repo, looked for in that order. Without it, the Commit
    /// lands on whatever the head is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::commit_reference("parent")))]
    pub parent: Option<String>,

    /// What the change is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,

    /// Puts, copies and deletions, done in this order. Where two speak of one path the later wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000), extend("x-kubernetes-list-type" = "atomic"))]
    pub changes: Option<Vec<Change>>,

    /// A tree that a client of the store's format has uploaded. It is checked before it is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<UploadedTree>,

    /// Makes the branch hold what an earlier Commit held: the uid of a Commit, a branch, or the name of a
    /// Commit object of this Repo, looked for in that order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::commit_reference("revertTo")))]
    pub revert_to: Option<String>,
}

fn default_branch() -> String {
    crate::repo::DEFAULT_BRANCH.into()
}

/// A tree that a client has uploaded.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadedTree {
    /// The tree's id: 64 hexadecimal digits.
    #[schemars(length(min = 64, max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub id: String,
    /// The upload session in which it was written.
    #[schemars(length(min = 36, max = 36))]
    pub session: String,
    /// Where its root lies in the store.
    pub root: FrameRef,
}
