//! What is seen of a Commit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{FrameRef, InputCommit};
use crate::schema;

/// What is seen of this Commit.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitStatus {
    /// The generation of the spec that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Reconciling` and `Stalled`, as kstatus defines them, and `Succeeded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// What the store, environment variables and other Commits call this Commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub uid: Option<String>,

    /// Its place in the branch; the first Commit is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,

    /// The hash over everything that this Commit is: its files, parents, author and provenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub seal: Option<String>,

    /// The id of its tree of files: equal ids are equal files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub tree: Option<String>,

    /// Where its record lies in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<FrameRef>,

    /// Files in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,

    /// Bytes of all files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,

    /// The same as people write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub size: Option<String>,

    /// Files that its parent did not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<u64>,

    /// Files that its parent had otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,

    /// Files that only its parent had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,

    /// The uid of the Commit that was at the head of the branch before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub parent: Option<String>,

    /// The uid of the source Commit that set this one off; its own, if no Job made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub run: Option<String>,

    /// What made it and from what; absent where a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<CommitProvenance>,

    /// What the branches and names in its spec stood for when it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub references: Vec<ResolvedReference>,

    /// What is going on, what is wrong and what to do about it, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub explanation: Option<String>,

    /// When it landed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub time: Option<String>,
}

/// What made an output Commit, and from what.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitProvenance {
    /// The Pipeline.
    #[schemars(length(max = 52))]
    pub pipeline: String,
    /// The Job.
    #[schemars(length(max = 52))]
    pub job: String,
    /// The Job object's uid.
    #[schemars(length(max = 36))]
    pub job_uid: String,
    /// The hash of everything that decides a datum's result, but its input.
    #[schemars(length(max = 64))]
    pub spec_digest: String,
    /// The image that ran.
    #[schemars(length(max = 512))]
    pub image: String,
    /// The digest of that image's configuration: its identity, whatever its tag.
    #[schemars(length(max = 160))]
    pub image_digest: String,
    /// The Commits that were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub inputs: Vec<InputCommit>,
}

/// What a reference in the spec stood for.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedReference {
    /// The field of the spec.
    #[schemars(length(max = 64))]
    pub field: String,
    /// What it says.
    #[schemars(length(max = 63))]
    pub reference: String,
    /// The Repo in which it was looked for.
    #[schemars(length(max = 52))]
    pub repo: String,
    /// The uid of the Commit that it stood for.
    #[schemars(length(max = 36))]
    pub commit: String,
}
