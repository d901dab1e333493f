//! A Repo: a named collection of files with branches.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type and a priority of its own")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{FrameRef, SecretRef};
use crate::schema;

/// The branch that is meant where none is named.
pub const DEFAULT_BRANCH: &str = "main";
/// The Secret that names the store where none is given.
pub const DEFAULT_STORE: &str = "varve-store";
/// Branches that a Repo may have: what keeps its status under 16 KiB.
pub const MAX_BRANCHES: usize = 32;
/// How many Commits of a branch, made by the operator, stay in the API where nothing else is said.
pub const DEFAULT_HISTORY_LIMIT: u32 = 100;

/// What is wanted of this Repo.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "varve.dev",
    version = "v1alpha1",
    kind = "Repo",
    namespaced,
    status = "RepoStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "vrepo",
    category = "varve",
    doc = "A Repo is a named collection of files with branches, kept under version control in an object store. Commits fill it; Pipelines read it and write their results to one.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "True when the Repo can be read and written."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready, or why not."
    ),
    printcolumn(
        name = "Branch",
        type_ = "string",
        json_path = ".status.latest.branch",
        description = "The branch that was written last."
    ),
    printcolumn(
        name = "Files",
        type_ = "integer",
        json_path = ".status.latest.files",
        description = "Files at the head of that branch."
    ),
    printcolumn(
        name = "Size",
        type_ = "string",
        json_path = ".status.latest.size",
        description = "Their bytes together."
    ),
    printcolumn(
        name = "Updated",
        type_ = "date",
        json_path = ".status.latest.time",
        description = "When that branch was written last."
    ),
    printcolumn(
        name = "Commit",
        type_ = "string",
        priority = 1,
        json_path = ".status.latest.commit",
        description = "The uid of the Commit at the head of that branch."
    ),
    printcolumn(
        name = "Store",
        type_ = "string",
        priority = 1,
        json_path = ".spec.storeRef.name",
        description = "The Secret that names the object store."
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "The same in a sentence."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.storeRef.name"
)]
#[serde(rename_all = "camelCase")]
pub struct RepoSpec {
    /// What the files are, in a sentence, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// Branches whose head is pinned. No other branch is listed here: the first Commit to a branch makes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_BRANCHES), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub branches: Vec<Branch>,

    /// How many Commits that the operator made (the outputs of Pipelines) stay in the Kubernetes API, for
    /// each branch. Older ones are removed from the API only: their data and history stay in the store.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 1, max = 10_000))]
    pub history_limit: u32,

    /// The Secret, in this namespace, that names the object store in which this Repo's data lies. It must be
    /// labelled `varve.dev/store`, and hold `url` (`s3://bucket/prefix`, `gs://…`, `az://…`), the store's
    /// credentials, and where needed `ca.crt`. It can't change once set: the data lies where it lies.
    #[serde(default = "default_store")]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[(
        "self == oldSelf",
        "storeRef can't be changed, since this Repo's data lies in that store: make another Repo and copy",
    )])))]
    pub store_ref: SecretRef,

    /// What happens to the data when this Repo is deleted. `Retain` keeps it: a Repo made again under this
    /// name has its whole history back. `Delete` gives the data up: a Repo made again begins empty.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn default_history_limit() -> u32 {
    DEFAULT_HISTORY_LIMIT
}

fn default_store() -> SecretRef {
    SecretRef { name: DEFAULT_STORE.into() }
}

/// A branch whose head is pinned.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Branch {
    /// The branch's name: lower-case letters, digits, `-` and `.`, and not the form of a UUID.
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::branch_name("name")))]
    pub name: String,

    /// Pins the branch to one Commit, which rolls it back or forward: the uid of a Commit, a branch, or the
    /// name of a Commit object of this Repo, looked for in that order. While the entry is there, nothing else
    /// can be committed to the branch; taken away, the branch stays where it is and goes on from there.
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::commit_reference("head")))]
    pub head: String,
}

impl RepoSpec {
    /// What the branch is pinned to, if it is.
    pub fn pin(&self, branch: &str) -> Option<&str> {
        Some(&self.branches.iter().find(|pinned| pinned.name == branch)?.head)
    }
}

/// What happens to a Repo's data when the Repo is deleted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum DeletionPolicy {
    /// The data stays, and a Repo made again under the same name adopts it.
    #[default]
    Retain,
    /// The data is given up.
    Delete,
}

/// What is seen of this Repo.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepoStatus {
    /// The generation of the spec that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Reconciling` and `Stalled`, as kstatus defines them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The store's own id of this Repo. A Repo made again after its data was given up has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub uid: Option<String>,

    /// The id of the store in which the data lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub store: Option<String>,

    /// The branches and their heads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_BRANCHES), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub branches: Vec<BranchHead>,

    /// The branch that was written last, for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,

    /// The head of the hidden branch that remembers results, so that nothing is computed twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Head>,
}

/// A branch and its head.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BranchHead {
    /// The branch.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What it points at.
    #[serde(flatten)]
    pub head: Head,
    /// Files in the branch.
    #[serde(default)]
    pub files: u64,
    /// Bytes of all files in the branch.
    #[serde(default)]
    pub bytes: u64,
}

/// What a branch points at: with the Repo's uid and the branch's name these are the fields of the newest entry
/// of the branch's reflog, word for word.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The uid of the Commit that the branch points at.
    #[schemars(length(max = 36))]
    pub commit: String,
    /// How many Commits the branch has had; the first is 1.
    pub seq: u64,
    /// The Commit's seal: the hash over everything that it is.
    #[schemars(length(max = 64))]
    pub seal: String,
    /// Where the Commit's record lies in the store.
    pub record: FrameRef,
    /// The hash of the reflog entry before this one; 64 zeros in the first.
    #[schemars(length(max = 64))]
    pub previous: String,
    /// When the head moved here: RFC 3339, UTC, nine digits of a second.
    #[schemars(length(max = 40))]
    pub time: String,
}

/// A summary of the branch that was written last.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latest {
    /// The branch.
    #[schemars(length(max = 63))]
    pub branch: String,
    /// The uid of the Commit at its head.
    #[schemars(length(max = 36))]
    pub commit: String,
    /// Files in it.
    pub files: u64,
    /// Bytes of all files in it, as people write them.
    #[schemars(length(max = 16))]
    pub size: String,
    /// When it was written.
    #[schemars(length(max = 40))]
    pub time: String,
}

impl Latest {
    /// The summary of the branch with the newest head, if there is a branch at all.
    pub fn of(branches: &[BranchHead]) -> Option<Self> {
        let newest = branches.iter().max_by(|a, b| a.head.time.cmp(&b.head.time))?;
        Some(Self {
            branch: newest.name.clone(),
            commit: newest.head.commit.clone(),
            files: newest.files,
            size: crate::show::size(newest.bytes),
            time: newest.head.time.clone(),
        })
    }
}
