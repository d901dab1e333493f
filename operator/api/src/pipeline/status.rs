//! What is seen of a Pipeline.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What is seen of this Pipeline.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// The generation of the spec that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Reconciling` and `Stalled`, as kstatus defines them, and `Suspended` and `ImagePinned`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// What the image reference stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ResolvedImage>,

    /// Where the output goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputHead>,

    /// The newest Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job: Option<LastJob>,

    /// How many Jobs of this Pipeline are in the API, by their state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobCounts>,

    /// Pods at work now. `kubectl scale` and autoscalers read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,

    /// The labels of those pods, as a selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub selector: Option<String>,

    /// What is going on, what is wrong and what to do about it, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub explanation: Option<String>,
}

/// What an image reference stands for.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedImage {
    /// The reference as the spec has it.
    #[schemars(length(max = 512))]
    pub reference: String,
    /// The digest of the manifest for the cluster's platform: what the pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub manifest_digest: Option<String>,
    /// The digest of the image's configuration: the image's identity, whatever its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub config_digest: Option<String>,
    /// The digest by which the image was first known, where no registry told its configuration: that in its reference,
    /// or that by which the node calls it that a pod asked. Where nothing better is known, it is the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub image_id: Option<String>,
    /// The architecture that it is built for, as nodes are labelled with it: its pods are kept to such nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub architecture: Option<String>,
    /// The image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 32_768)), extend("x-kubernetes-list-type" = "atomic"))]
    pub entrypoint: Vec<String>,
    /// The image's default arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 32_768)), extend("x-kubernetes-list-type" = "atomic"))]
    pub cmd: Vec<String>,
    /// The image's working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub working_dir: Option<String>,
    /// The image's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub user: Option<String>,
    /// The generation of the Pipeline for which the image was looked up.
    #[serde(default)]
    pub resolved_generation: i64,
    /// The value of the annotation `varve.dev/resolve-image` for which the image was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub resolved_request: Option<String>,
}

impl ResolvedImage {
    /// What decides whether two images are the same, and so whether a datum must be run again: the digest of the
    /// configuration; else the best that is known.
    pub fn identity(&self) -> &str {
        let known = [&self.config_digest, &self.image_id, &self.manifest_digest];
        known.into_iter().flatten().next().unwrap_or(&self.reference)
    }

    /// Whether anything but the reference is known.
    pub fn is_known(&self) -> bool {
        self.config_digest.is_some() || self.image_id.is_some() || self.manifest_digest.is_some()
    }

    /// What every pod must report to run this image, where its reference alone names it: nodes may know several by it.
    pub fn unpinned(&self) -> Option<&str> {
        self.image_id.as_deref().filter(|_| self.manifest_digest.is_none())
    }
}

/// Where the output goes, and what stands there.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputHead {
    /// The Repo.
    #[schemars(length(max = 52))]
    pub repo: String,
    /// The branch.
    #[schemars(length(max = 63))]
    pub branch: String,
    /// The uid of the newest Commit that this Pipeline made there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub commit: Option<String>,
}

/// The newest Job of a Pipeline.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastJob {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The reason of its `Ready` condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub result: Option<String>,
    /// Datums in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datums: Option<u64>,
    /// When it last changed its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub time: Option<String>,
}

/// Jobs of a Pipeline that are in the API.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCounts {
    /// Not ended yet.
    pub active: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Ended badly.
    pub failed: u32,
}
