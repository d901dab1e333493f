//! What a Commit changes: puts, copies and deletions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::default_branch;
use crate::schema;

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

    /// Where to fetch the file: http or https. It is fetched by a pod in this namespace. Where the server does not say
    /// how long it is, it may have at most 64 GiB.
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

    /// The Secret with the credentials, labelled `varve.dev/import: "true"`. Its keys are those of a store's Secret,
    /// such as `aws_access_key_id`. Without it the bucket is read without credentials.
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
