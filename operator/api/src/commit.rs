//! A Commit: an immutable tree of files in a Repo, and what asked for it.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type and a priority of its own")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{FrameRef, InputCommit};
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

/// One change: exactly one of its fields is set.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[(
    "(has(self.put) ? 1 : 0) + (has(self.copy) ? 1 : 0) + (has(self.delete) ? 1 : 0) == 1",
    "each entry of changes must have exactly one of put, copy and delete",
)])))]
pub struct Change {
    /// Writes a file, or the files below a path. What was there before is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put: Option<Put>,

    /// Takes a file or directory from a Commit of this or another Repo, without copying its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Copy>,

    /// Removes a file, a directory with all below it, or everything that a glob matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<Delete>,
}

/// Writes a file, or the files below a path, from exactly one source.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    (
        "(has(self.text) ? 1 : 0) + (has(self.url) ? 1 : 0) + (has(self.objectStore) ? 1 : 0) + (has(self.configMap) ? 1 : 0) == 1",
        "put must have exactly one of text, url, objectStore and configMap",
    ),
    (
        "self.path != '/' || has(self.objectStore) || (has(self.configMap) && !has(self.configMap.key))",
        "path must name a file: / is the whole Repo, and only a prefix or a whole ConfigMap can be put there",
    ),
])))]
pub struct Put {
    /// Where to put it: begins with `/`, has no empty, `.` or `..` part, and doesn't end in `/`.
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-validations" = schema::path("path")))]
    pub path: String,

    /// The file's whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub text: Option<String>,

    /// Where to fetch the file: http or https. It is fetched by a pod in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-validations" = schema::rules(&[(
        "self.startsWith('https://') || self.startsWith('http://')",
        "url must begin with https:// or http:// (for buckets there is objectStore)",
    )])))]
    pub url: Option<String>,

    /// An object, or all objects under a prefix, of a bucket. They are fetched by a pod in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreSource>,

    /// A ConfigMap of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
}

/// An object, or all objects under a prefix, of a bucket.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStoreSource {
    /// The object (`s3://bucket/key`), or the prefix, which ends in `/`. Also `gs://` and `az://`.
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-validations" = schema::rules(&[(
        "self.startsWith('s3://') || self.startsWith('gs://') || self.startsWith('az://')",
        "url must begin with s3://, gs:// or az://",
    )])))]
    pub url: String,

    /// The Secret with the credentials, labelled `varve.dev/import: "true"`. Its keys are object_store's
    /// configuration keys, such as `aws_access_key_id`. Without it the bucket is read without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
}

/// A ConfigMap, or one key of it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The key whose value becomes the file. Without it, each key becomes a file below `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Takes a file or directory from a Commit, without copying its bytes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Copy {
    /// Where to put it: begins with `/`, has no empty, `.` or `..` part, and doesn't end in `/`.
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-validations" = schema::path("path")))]
    pub path: String,
    /// What to take.
    pub from: CopySource,
}

/// What to copy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopySource {
    /// The Repo to copy from; without it, the Commit's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), extend("x-kubernetes-validations" = schema::object_name("repo")))]
    pub repo: Option<String>,

    /// The Commit to copy from: the uid of a Commit, a branch, or the name of a Commit object of that Repo,
    /// looked for in that order.
    #[serde(default = "default_branch")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::commit_reference("commit")))]
    pub commit: String,

    /// The file or directory to copy; `/` is everything.
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-validations" = schema::path("path")))]
    pub path: String,
}

/// Removes a file, a directory with all below it, or everything that a glob matches.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delete {
    /// The path, or a glob: `*` and `?` stay within one name, `**` crosses directories, `{a,b}` and `[a-z]`
    /// work too. A path that isn't there, or a glob that matches nothing, is an error.
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-validations" = schema::path("path")))]
    pub path: String,
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
