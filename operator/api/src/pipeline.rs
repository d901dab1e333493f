//! A Pipeline: a container to run over inputs, and where its output goes.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn has a type and a priority of its own")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, LocalObjectReference, ResourceRequirements, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema, subset};

/// How often a datum is tried in all, where nothing else is said.
pub const DEFAULT_TRIES: u32 = 3;
/// The most datums a Job may have, where nothing else is said: stops a cross made by mistake.
pub const DEFAULT_DATUM_LIMIT: u64 = 10_000_000;
/// How many ended Jobs stay in the API, where nothing else is said.
pub const DEFAULT_JOB_HISTORY_LIMIT: u32 = 20;

/// What to run, over what, and where the output goes.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "varve.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    namespaced,
    status = "PipelineStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "vpipe",
    category = "varve",
    doc = "A Pipeline runs a container over the files of its inputs whenever they change, and commits what it writes to an output Repo. What it has computed once it never computes again.",
    scale(
        spec_replicas_path = ".spec.parallelism",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "True when the output is up to date with the inputs, or a Job is bringing it there."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready, or why not."
    ),
    printcolumn(name = "Job", type_ = "string", json_path = ".status.lastJob.name", description = "The newest Job."),
    printcolumn(
        name = "Result",
        type_ = "string",
        json_path = ".status.lastJob.result",
        description = "How that Job stands."
    ),
    printcolumn(
        name = "Datums",
        type_ = "integer",
        json_path = ".status.lastJob.datums",
        description = "Datums in that Job."
    ),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".status.replicas", description = "Pods at work."),
    printcolumn(
        name = "Updated",
        type_ = "date",
        json_path = ".status.lastJob.time",
        description = "When that Job last changed its state."
    ),
    printcolumn(
        name = "Output",
        type_ = "string",
        priority = 1,
        json_path = ".status.output.repo",
        description = "The Repo that it writes to."
    ),
    printcolumn(
        name = "Image",
        type_ = "string",
        priority = 1,
        json_path = ".spec.container.image",
        description = "The image that it runs."
    ),
    printcolumn(
        name = "Parallelism",
        type_ = "integer",
        priority = 1,
        json_path = ".spec.parallelism",
        description = "Pods that may run at a time."
    ),
    printcolumn(
        name = "Explanation",
        type_ = "string",
        priority = 1,
        json_path = ".status.explanation",
        description = "What is wrong, and what to do."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.container.image"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    (
        "self.inputs.all(i, (!has(i.cross) || !(i.name in i.cross)) && (!has(i.union) || !(i.name in i.union)))",
        "an entry of inputs may not name itself in cross or union",
    ),
    (
        "self.inputs.all(i, !has(i.cross) || i.cross.all(m, self.inputs.exists(j, j.name == m)))",
        "each name in cross must be the name of another entry of inputs",
    ),
    (
        "self.inputs.all(i, !has(i.union) || i.union.all(m, self.inputs.exists(j, j.name == m)))",
        "each name in union must be the name of another entry of inputs",
    ),
    (
        "self.inputs.all(i, self.inputs.map(j, (has(j.cross) && i.name in j.cross ? 1 : 0) + (has(j.union) && i.name in j.union ? 1 : 0)).sum() <= 1)",
        "an entry of inputs may be a member of one cross or union only: to read it twice, list it twice under two names",
    ),
    (
        "!has(self.input) || self.inputs.exists(i, i.name == self.input)",
        "input must be the name of an entry of inputs",
    ),
])))]
pub struct PipelineSpec {
    /// What is read: a flat list, in which an entry may combine others by their names.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub inputs: Vec<Input>,

    /// The entry of `inputs` that is the whole. Without it, all entries that no other one uses are crossed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub input: Option<String>,

    /// The container that is run for each datum: a part of a core/v1 Container.
    pub container: Container,

    /// How its pods are scheduled and set up: a part of a core/v1 PodSpec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,

    /// How many pods may work on a Job at a time. `kubectl scale` sets it too.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 10_000))]
    pub parallelism: u32,

    /// How each datum is run.
    #[serde(default)]
    pub datum: DatumOptions,

    /// The most seconds that a Job may take, from its start to its last datum. Without it there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub timeout_seconds: Option<u32>,

    /// Where the output goes. Without it: to the branch `main` of the Repo of the Pipeline's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,

    /// Stops new Jobs from being made, and takes the running one's pods away. Datums that are done stay done: set
    /// back to false, the Job goes on with what is left.
    #[serde(default)]
    pub suspend: bool,

    /// How many ended Jobs stay in the Kubernetes API. Their records stay in the store.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub history_limit: u32,
}

fn default_parallelism() -> u32 {
    1
}
fn default_history_limit() -> u32 {
    DEFAULT_JOB_HISTORY_LIMIT
}

/// An entry of `inputs`: exactly one of `glob`, `cross` and `union` is set.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    (
        "(has(self.glob) ? 1 : 0) + (has(self.cross) ? 1 : 0) + (has(self.union) ? 1 : 0) == 1",
        "each entry of inputs must have exactly one of glob, cross and union",
    ),
    (
        "has(self.glob) || !(has(self.repo) || has(self.branch) || has(self.as) || has(self.optional))",
        "repo, branch, as and optional belong to an input with a glob, not to a cross or union",
    ),
])))]
pub struct Input {
    /// The input's name: the folder under `/pfs` where its files are seen, unless `as` says otherwise.
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::input_name("name")))]
    pub name: String,

    /// The Repo to read; without it, the one of the input's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), extend("x-kubernetes-validations" = schema::object_name("repo")))]
    pub repo: Option<String>,

    /// The branch to read; without it, `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::branch_name("branch")))]
    pub branch: Option<String>,

    /// Which files and directories make a datum: each match is one. `/` is the whole Repo at once, `/*` each file
    /// and directory at its top, `/*/` each directory at its top, `/**` each file at any depth. `*`, `?`, `[a-z]`,
    /// `[!a-z]` and `{a,b}` work too, and a backslash takes the next character as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = schema::rules(&[(
        "self.startsWith('/')",
        "glob must begin with /",
    )])))]
    pub glob: Option<String>,

    /// The folder under `/pfs` where its files are seen; without it, the input's name.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::input_name("as")))]
    pub mount_as: Option<String>,

    /// In a cross: where this input matches nothing, the others go on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,

    /// Names of entries: every combination of one datum from each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub cross: Option<Vec<String>>,

    /// Names of entries: all datums of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub union: Option<Vec<String>>,
}

impl Input {
    /// The Repo that a leaf reads.
    pub fn repo(&self) -> &str {
        self.repo.as_deref().unwrap_or(&self.name)
    }
    /// The branch that a leaf reads.
    pub fn branch(&self) -> &str {
        self.branch.as_deref().unwrap_or(crate::repo::DEFAULT_BRANCH)
    }
    /// The folder under `/pfs` where a leaf's files are seen.
    pub fn mount(&self) -> &str {
        self.mount_as.as_deref().unwrap_or(&self.name)
    }
}

/// The container that is run: a part of a core/v1 Container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// The image to run. A tag is looked up once and then kept, until the spec changes or the annotation
    /// `varve.dev/resolve-image` does.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,

    /// The command; without it, the image's entrypoint. There is no shell, and no `$(VAR)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 32_768)), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Option<Vec<String>>,

    /// Its arguments; without them, and without `command`, the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 32_768)), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Option<Vec<String>>,

    /// Where the command is started; without it, the image's working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-validations" = schema::rules(&[(
        "self.startsWith('/')",
        "workingDir must begin with /",
    )])))]
    pub working_dir: Option<String>,

    /// Environment variables. The names that Varve sets itself may not be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::env")]
    pub env: Vec<EnvVar>,

    /// ConfigMaps and Secrets whose every key becomes an environment variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::env_from")]
    pub env_from: Vec<EnvFromSource>,

    /// CPU, memory and devices, such as `nvidia.com/gpu`, of each pod's container. Parts of a CPU are `500m`, or
    /// `"0.5"` in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "subset::resources")]
    pub resources: Option<ResourceRequirements>,

    /// Where the volumes of `pod.volumes` are seen. `/pfs` and `/.varve` are Varve's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::volume_mounts")]
    pub volume_mounts: Vec<VolumeMount>,

    /// The user that the container runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<ContainerSecurity>,
}

/// A part of a core/v1 SecurityContext: no rights can be added, and root can't be had.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSecurity {
    /// The numeric user; without it 65532, or one of the range that OpenShift gives the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647_i64))]
    pub run_as_user: Option<i64>,
    /// The numeric group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647_i64))]
    pub run_as_group: Option<i64>,
    /// True makes the image's own files unchangeable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
}

/// How the pods are scheduled and set up: a part of a core/v1 PodSpec.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "subset::node_selector")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// Nodes and pods that the pods should be near to or far from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "subset::affinity")]
    pub affinity: Option<Affinity>,

    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// The RuntimeClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,

    /// The scheduler that places the pods; without it, the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub scheduler_name: Option<String>,

    /// The ServiceAccount of the pods. Its pull secrets are used; its token is never mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,

    /// Secrets with the credentials of image registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::image_pull_secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Volumes for `container.volumeMounts`: ConfigMaps, Secrets, empty directories and claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "subset::volumes")]
    pub volumes: Vec<Volume>,

    /// User and groups of the whole pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurity>,

    /// The seconds that the code has, when its pod is stopped, until it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 86_400))]
    pub termination_grace_period_seconds: Option<i64>,
}

/// A part of a core/v1 PodSecurityContext.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// The group that owns the pod's volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647_i64))]
    pub fs_group: Option<i64>,
    /// Further groups of the pod's processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 1, max = 2_147_483_647_i64)), extend("x-kubernetes-list-type" = "set"))]
    pub supplemental_groups: Vec<i64>,
}

/// How each datum is run.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatumOptions {
    /// How often a datum is tried in all before it has failed.
    #[serde(default = "default_tries")]
    #[schemars(range(min = 1, max = 100))]
    pub tries: u32,

    /// The most seconds that one try of one datum may take. Only the code's own time counts. Without it
    /// there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub timeout_seconds: Option<u32>,

    /// Exit codes, besides 0, that mean success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(range(min = 1, max = 255)), extend("x-kubernetes-list-type" = "set"))]
    pub accept_exit_codes: Vec<i32>,

    /// The most datums that a Job may have: stops a cross made by mistake.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1_000_000_000_u64))]
    pub limit: u64,
}

fn default_tries() -> u32 {
    DEFAULT_TRIES
}
fn default_limit() -> u64 {
    DEFAULT_DATUM_LIMIT
}

impl Default for DatumOptions {
    fn default() -> Self {
        Self { tries: DEFAULT_TRIES, timeout_seconds: None, accept_exit_codes: Vec::new(), limit: DEFAULT_DATUM_LIMIT }
    }
}

/// Where the output goes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The Repo to write to; without it, the one of the Pipeline's own name. It is made if it isn't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), extend("x-kubernetes-validations" = schema::object_name("repo")))]
    pub repo: Option<String>,
    /// The branch to write to; without it, `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::branch_name("branch")))]
    pub branch: Option<String>,
}

impl PipelineSpec {
    /// The Repo that a Pipeline of this name writes to.
    pub fn output_repo<'a>(&'a self, pipeline: &'a str) -> &'a str {
        self.output.as_ref().and_then(|o| o.repo.as_deref()).unwrap_or(pipeline)
    }
    /// The branch that it writes to.
    pub fn output_branch(&self) -> &str {
        self.output.as_ref().and_then(|o| o.branch.as_deref()).unwrap_or(crate::repo::DEFAULT_BRANCH)
    }
}

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
    /// The image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 2048)), extend("x-kubernetes-list-type" = "atomic"))]
    pub entrypoint: Vec<String>,
    /// The image's default arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 2048)), extend("x-kubernetes-list-type" = "atomic"))]
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
